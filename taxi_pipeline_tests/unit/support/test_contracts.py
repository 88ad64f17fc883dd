"""The look at requests refuses each kind of fault, and lets pass what Google takes."""

import json
from typing import Any

import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession

from taxi_pipeline_tests.support.contracts import edge
from taxi_pipeline_tests.support.contracts.calls import NotUnderstoodError, read_call
from taxi_pipeline_tests.support.contracts.rules import METADATA_BYTES

# Nobody listens there: what is not refused fails otherwise.
NOBODY = "http://127.0.0.1:1"
OBJECTS = "/storage/v1/b/a-bucket/o"
JOBS = "/bigquery/v2/projects/a-project/jobs"
TABLES = "/bigquery/v2/projects/a-project/datasets/a_dataset/tables"
UPLOADS = f"/upload{OBJECTS}"
JSON = {"Content-Type": "application/json"}


def sent(method: str, address: str, body: Any = None) -> requests.Response:
    """Send a request as Google's clients do."""
    content = None if body is None else json.dumps(body)
    with AuthorizedSession(AnonymousCredentials()) as session:
        answer: requests.Response = session.request(
            method, f"{NOBODY}{address}", data=content, headers=JSON
        )
        return answer


def refusal(method: str, address: str, body: Any = None) -> str:
    """Return the words with which a request is refused, which are the session's, too."""
    with edge.refusals_expected() as refused:
        answer = sent(method, address, body)
    assert answer.status_code == 400
    words: str = answer.json()["error"]["message"]
    assert refused == [f"{method} {address.partition('?')[0]}: {words}"]
    return words


def query(text: str = "SELECT 1", **fields: Any) -> dict[str, Any]:
    return {"configuration": {"query": {"query": text, "useLegacySql": False} | fields}}


def load(**fields: Any) -> dict[str, Any]:
    return {"configuration": {"load": {"sourceUris": ["gs://a-bucket/a"]} | fields}}


def labelled(**labels: str) -> dict[str, Any]:
    configuration = query()["configuration"] | {"labels": labels}
    return {"configuration": configuration}


def table(**fields: Any) -> dict[str, Any]:
    reference = {"projectId": "a-project", "datasetId": "a_dataset", "tableId": "trips"}
    return {"tableReference": reference} | fields


def named(table_id: str) -> dict[str, Any]:
    return table(tableReference={"tableId": table_id})


REFUSED: dict[str, tuple[str, str, Any, str]] = {
    "no method": ("GET", "/storage/v2/b", None, "no method of Google's has this address"),
    "a batch": ("POST", "/batch/storage/v1", None, "send each request by itself"),
    "unknown parameter": ("GET", f"{OBJECTS}?prefixes=a", None, "parameter 'prefixes' is unknown"),
    "parameter twice": ("GET", f"{OBJECTS}?prefix=a&prefix=b", None, "'prefix' is there twice"),
    "missing parameter": ("POST", "/storage/v1/b", {}, "the parameter 'project' is missing"),
    "parameter of another type": (
        *("DELETE", f"{OBJECTS}/a?ifGenerationMatch=newest", None),
        "'ifGenerationMatch' is 'newest', and is declared as int64",
    ),
    "parameter of no such value": (
        *("GET", f"{OBJECTS}?projection=some", None),
        "'projection' is 'some', and is declared as one of full, noAcl",
    ),
    "unknown field": ("PATCH", f"{OBJECTS}/a", {"meta": {}}, "field 'body.meta' is unknown"),
    "unknown field within": (
        *("POST", JOBS, load(writeDispositions="WRITE_EMPTY")),
        "field 'body.configuration.load.writeDispositions' is unknown",
    ),
    "field of another type": (
        *("PATCH", f"{OBJECTS}/a", {"metadata": {"rows": 5}}),
        "field 'body.metadata.rows' is 5, and is declared as string",
    ),
    "text for a list": (
        *("POST", JOBS, load(sourceUris="gs://a-bucket/a")),
        'body.configuration.load.sourceUris\' is "gs://a-bucket/a", and is declared as array',
    ),
    "number for a boolean": (
        *("POST", JOBS, load(ignoreUnknownValues=1)),
        "ignoreUnknownValues' is 1, and is declared as boolean",
    ),
    "no number": (
        *("POST", JOBS, query(maximumBytesBilled="many")),
        'maximumBytesBilled\' is "many", and is declared as int64',
    ),
    "body where there is none": ("GET", OBJECTS, {"a": 1}, "the method takes none"),
    "label's key": ("POST", JOBS, labelled(Run="a"), "the label's key 'Run' is illegal"),
    "label's first letter": ("POST", JOBS, labelled(_run="a"), "the label's key '_run' is illegal"),
    "label's value": ("POST", JOBS, labelled(run="a.b"), "run has the illegal value 'a.b'"),
    "long label": ("POST", JOBS, labelled(run="a" * 64), "run has the illegal value"),
    "many labels": (
        *("POST", JOBS, labelled(**{f"run_{number}": "a" for number in range(65)})),
        "there are 65 labels, and may be 64",
    ),
    "job's id": (
        *("POST", JOBS, query() | {"jobReference": {"jobId": "a.b"}}),
        "'a.b' is no legal jobId",
    ),
    "job's id in the path": ("GET", f"{JOBS}/a.b", None, "'a.b' is no legal jobId"),
    "table's id": ("POST", TABLES, named("a/b"), "'a/b' is no legal tableId"),
    "partition": ("POST", TABLES, named("a$2021-01"), "names no partition: '2021-01'"),
    "dataset's id": (
        *("GET", "/bigquery/v2/projects/a-project/datasets/a-b", None),
        "'a-b' is no legal datasetId",
    ),
    "project's id": ("GET", "/bigquery/v2/projects/A/jobs", None, "'A' is no legal projectId"),
    "bucket's name": ("GET", "/storage/v1/b/Lake", None, "'Lake' is no legal bucket"),
    "object's name": ("GET", f"{OBJECTS}/a%0Ab", None, "is no legal object's name"),
    "long object's name": ("GET", f"{OBJECTS}/{'a' * 1025}", None, "is no legal object's name"),
    "write disposition": (
        *("POST", JOBS, load(writeDisposition="TRUNCATE")),
        "writeDisposition is 'TRUNCATE', and may be WRITE_APPEND, ",
    ),
    "create disposition": (
        *("POST", JOBS, query(createDisposition="NEVER")),
        "createDisposition is 'NEVER', and may be CREATE_IF_NEEDED, CREATE_NEVER",
    ),
    "source format": ("POST", JOBS, load(sourceFormat="parquet"), "is 'parquet', and may be AVRO"),
    "column's type": (
        *("POST", TABLES, table(schema={"fields": [{"name": "a", "type": "DOUBLE"}]})),
        "body.schema.fields[].type is 'DOUBLE', which BigQuery has not",
    ),
    "partitioning": (
        *("POST", TABLES, table(timePartitioning={"type": "WEEK"})),
        "body.timePartitioning.type is 'WEEK', which BigQuery has not",
    ),
    "large metadata": (
        *("PATCH", f"{OBJECTS}/a", {"metadata": {"words": "w" * (METADATA_BYTES - 4)}}),
        "the custom metadata has 8193 bytes, and may have 8192",
    ),
    "no SQL": ("POST", JOBS, query("SELECT 1 FROM"), "query is not BigQuery's SQL: it does not"),
    "no statement": ("POST", JOBS, query("-- nothing"), "SQL: there is no statement"),
    "PostgreSQL's cast": ("POST", JOBS, query("SELECT a::int FROM b"), "BigQuery has no ::"),
    "PostgreSQL's DISTINCT ON": (
        *("POST", JOBS, query("SELECT DISTINCT ON (a) b FROM c")),
        "BigQuery has no DISTINCT ON",
    ),
    "PostgreSQL's ILIKE": (
        *("POST", JOBS, query("SELECT a ILIKE 'b' FROM c")),
        "BigQuery has no ILIKE",
    ),
    "legacy SQL": ("POST", JOBS, query(useLegacySql=True), "useLegacySql is not set to false"),
    "view": (
        *("POST", TABLES, table(view={"query": "SELECT FROM", "useLegacySql": False})),
        "body.view.query is not BigQuery's SQL",
    ),
    "upload at another address": ("POST", f"{OBJECTS}?uploadType=media", None, "upload"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_google_would_refuse_is_refused_in_words_and_does_not_arrive(fault: str) -> None:
    method, address, body, words = REFUSED[fault]
    assert words in refusal(method, address, body)


TAKEN: dict[str, tuple[str, str, Any]] = {
    "types by either name": (
        *("POST", TABLES),
        table(schema={"fields": [{"name": t, "type": t} for t in ("INT64", "FLOAT", "FLOAT64")]}),
    ),
    "64 bits as a number": ("POST", JOBS, query(maximumBytesBilled=5)),
    "a partition": ("GET", f"{TABLES}/trips$202101/data", None),
    "metadata to the limit": (
        *("PATCH", f"{OBJECTS}/a%2Fb?ifGenerationMatch=1"),
        {"metadata": {"words": "w" * (METADATA_BYTES - 5)}},
    ),
    "metadata that is taken away": ("PATCH", f"{OBJECTS}/a", {"metadata": {"words": None}}),
    "labels": ("POST", JOBS, labelled(run="2021-01_é", month="")),
    "a boolean as Python writes it": (
        *("GET", f"{TABLES}/a/data?formatOptions.useInt64Timestamp=True"),
        None,
    ),
    "a project of a domain": ("GET", "/bigquery/v2/projects/example.com:a-project/jobs", None),
}


@pytest.mark.parametrize("case", TAKEN)
def test_what_google_takes_is_sent(case: str) -> None:
    with pytest.raises(requests.ConnectionError):
        sent(*TAKEN[case])


def multipart(metadata: object) -> bytes:
    resource = json.dumps({"name": "a", "metadata": metadata}).encode()
    parts = b"--x\r\ncontent-type: application/json; charset=UTF-8\r\n\r\n%b\r\n--x\r\n"
    return parts % resource + b"content-type: text/plain\r\n\r\n--x--\r\n--x--"


def test_the_first_part_of_an_upload_is_the_objects_resource() -> None:
    headers: dict[str, str | bytes] = {"Content-Type": b'multipart/related; boundary="x"'}
    address = f"{NOBODY}{UPLOADS}?uploadType=multipart"
    call = read_call("POST", address, headers, multipart({"rows": 5}))
    assert call
    assert (call.kind, call.body["name"]) == ("storage.objects.insert, multipart", "a")
    assert [*call.method.faults_of_body(call.body)] == [
        "the field 'body.metadata.rows' is 5, and is declared as string"
    ]


@pytest.mark.parametrize(
    ("content_range", "size", "words"),
    [
        ("bytes 0-262143/*", 262144, None),
        ("bytes 262144-262148/262149", 5, None),
        ("bytes */*", 0, None),
        ("bytes 0-4/*", 5, "no multiple of 256 KiB"),
        ("bytes 0-4/5", 6, "the part has 6 bytes, and Content-Range says 5"),
        ("0-4", 5, "the part's Content-Range is '0-4'"),
    ],
)
def test_a_part_of_an_upload_has_the_size_that_it_may_have(
    content_range: str, size: int, words: str | None
) -> None:
    address = f"{NOBODY}{UPLOADS}?uploadType=resumable&upload_id=1"
    headers: dict[str, str | bytes] = {"content-range": content_range}
    if words is None:
        assert read_call("PUT", address, headers, bytes(size)) is None
    else:
        with pytest.raises(NotUnderstoodError, match=words.replace("*", r"\*")):
            read_call("PUT", address, headers, bytes(size))


def test_a_test_fails_by_what_was_refused_meanwhile_even_where_its_code_has_hidden_it() -> None:
    failure = pytest.raises(AssertionError, match="Google would refuse:\nGET /storage/v1/b/Lake: ")
    with edge.refusals_expected() as refused, failure, edge.no_refusals():
        sent("GET", "/storage/v1/b/Lake")
    assert len(refused) == 1


def test_others_requests_are_not_looked_at() -> None:
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{NOBODY}/storage/v1/b/Lake", timeout=5)


@pytest.fixture(scope="module")
def refused_in_a_fixture_of_the_module() -> int:
    return sent("GET", f"{OBJECTS}?nonsense=1").status_code


def test_what_was_refused_in_a_fixture_of_the_module_fails_its_first_test(
    refused_in_a_fixture_of_the_module: int,
) -> None:
    assert refused_in_a_fixture_of_the_module == 400
    with pytest.raises(AssertionError, match="'nonsense' is unknown"), edge.no_refusals():
        pass
