# One image for every role: the code location (by default), Dagster's webserver and daemon, and runs.
# To pin the base by digest, append @sha256:DIGEST, which is what
# `docker buildx imagetools inspect python:3.13.15-slim-trixie` prints.
FROM python:3.13.15-slim-trixie AS base
# The image comes without bytecode, and who is not root could not keep what each start compiles.
RUN python -m compileall -q /usr/local/lib/python3.13


FROM base AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv --without-pip /opt/taxi

COPY requirements.lock ./
RUN pip --python /opt/taxi/bin/python install --no-cache-dir -r requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY taxi_pipeline ./taxi_pipeline
RUN pip wheel --no-cache-dir --no-deps --wheel-dir dist . \
  && pip --python /opt/taxi/bin/python install --no-cache-dir --no-deps dist/*.whl


FROM base
# Nothing in it installs anything.
RUN pip uninstall --yes --quiet --root-user-action ignore pip \
  && groupadd --system --gid 10001 taxi \
  && useradd --system --uid 10001 --gid taxi --no-create-home --home-dir /tmp taxi

# The last lets Dagster's daemon wait for a code location that is being replaced: else it takes the
# assets for gone, and ends the backfills that go on.
ENV PATH=/opt/taxi/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DAGSTER_HOME=/opt/dagster \
    DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR=1
WORKDIR /opt/dagster
COPY deploy/dagster.yaml ./
COPY deploy/entrypoint.sh /usr/local/bin/
COPY --from=builder /opt/taxi /opt/taxi

ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="taxi_pipeline" \
      org.opencontainers.image.description="NYC taxi trips, month by month, in a GCS lake, BigQuery and PostgreSQL: every published row accounted for" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"

# By number, which Kubernetes needs to see that it is not root.
USER 10001:10001
EXPOSE 4000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
  CMD ["dagster", "api", "grpc-health-check", "-p", "4000"]
ENTRYPOINT ["entrypoint.sh"]
CMD ["dagster", "code-server", "start", "-h", "0.0.0.0", "-p", "4000", "-m", "taxi_pipeline.definitions"]
