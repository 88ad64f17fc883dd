# One image for every role: the code location (by default), Dagster's webserver and daemon, and runs.
# To pin the base by digest, append @sha256:DIGEST, which is what
# `docker buildx imagetools inspect python:3.13.15-slim-trixie` prints.
FROM python:3.13.15-slim-trixie AS base
# The image comes without bytecode, and who is not root could not keep what each start compiles.
RUN python -m compileall -q /usr/local/lib/python3.13


# What installs and builds, in the locked versions, in places of its own: none of it gets into the image.
FROM base AS tools
WORKDIR /build
COPY requirements-dev.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action ignore \
    -c requirements-dev.lock hatchling uv \
  && python -m venv --without-pip /opt/taxi


# What is installed, less what nothing here reads: Google's descriptions of its other APIs, clients of
# Kubernetes for asyncio and of Arrow's Flight and S3, and the packages' tests, headers, type stubs and
# source maps. It would be a third of the image.
FROM base AS packages
# The certificates that this system trusts: a company's proxy may have one of its own.
ENV UV_NO_CACHE=1 UV_SYSTEM_CERTS=1
WORKDIR /build
# Known by their content: where something else is locked for development, this layer stays.
COPY --from=tools /opt/taxi /opt/taxi
COPY --from=tools /usr/local/bin/uv /usr/local/bin/
COPY requirements.lock requirements-openlineage.lock ./
# The other has what OPENLINEAGE_URL needs, too.
ARG REQUIREMENTS=requirements.lock
RUN uv pip install --quiet --python /opt/taxi --no-deps -r "${REQUIREMENTS}"

WORKDIR /opt/taxi/lib/python3.13/site-packages
RUN rm -r googleapiclient/discovery_cache/documents kubernetes/aio \
    pyarrow/include pyarrow/*flight* pyarrow/*_s3* numpy/_core/include \
  && find . -type d -name tests -prune -exec rm -r '{}' + \
  && find . -type f '(' -name '*.map' -o -name '*.p[xy][dix]' ')' -delete \
  && /opt/taxi/bin/python -m compileall -q -j 0 .


# Our package by itself, so that a change of it is a small layer.
FROM tools AS package
COPY pyproject.toml README.md LICENSE ./
COPY taxi_pipeline ./taxi_pipeline
RUN uv build --quiet --wheel --no-build-isolation --python /usr/local/bin/python --out-dir dist \
  && uv pip install --quiet --python /opt/taxi --no-deps --no-index --compile-bytecode \
    --prefix /package dist/*.whl


FROM base
# Nothing in it installs anything.
RUN rm -r /usr/local/bin/pip* /usr/local/lib/python3.13/site-packages/pip* \
  && groupadd --gid 10001 taxi \
  && useradd --uid 10001 --gid taxi --no-create-home --home-dir /tmp taxi

# The last lets Dagster's daemon wait for a code location that is being replaced: else it takes the
# assets for gone, and ends the backfills that go on.
ENV PATH=/opt/taxi/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DAGSTER_HOME=/opt/dagster \
    DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR=1
WORKDIR /opt/dagster
COPY --from=packages /opt/taxi /opt/taxi
COPY deploy/dagster.yaml ./
COPY deploy/entrypoint.sh deploy/serves.py /usr/local/bin/
COPY --from=package /package /opt/taxi

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
HEALTHCHECK --interval=5s --timeout=30s --start-period=300s CMD ["serves.py", "4000"]
ENTRYPOINT ["entrypoint.sh"]
# One process, so that the container ends where it does: `dagster code-server start` stays, and says
# that all is well, where the process that it watches has died.
CMD ["dagster", "api", "grpc", "-h", "0.0.0.0", "-p", "4000", "-m", "taxi_pipeline.definitions"]
