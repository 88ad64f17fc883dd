"""Secrets that are marked, so that a search for the mark finds whatever shows one of them."""

MARK = "s3cr3t"
_ODD = "@/:?#%&=+ '\"\\,é{"

PASSWORD = f"{MARK}-postgres{_ODD}{MARK}-postgres-end"
INSTANCE_PASSWORD = f"{MARK}-instance"
TOKEN = f"{MARK}-token"
SIGNATURE = f"{MARK}-signature"
KEY = {
    "type": "service_account",
    "project_id": "taxi-local",
    "private_key_id": f"{MARK}-key-id",
    "private_key": f"-----BEGIN PRIVATE KEY-----\n{MARK}-private-key\n-----END PRIVATE KEY-----\n",
    "client_email": "loader@taxi-local.iam.gserviceaccount.com",
    "token_uri": "http://127.0.0.1:1/token",
}
