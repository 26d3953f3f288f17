# Tricorn with its demo application; an application's own image starts FROM it.
#
#     docker build -t tricorn .
#     docker run -p 8000:8000 tricorn                                     # the demo
#     docker run -p 8000:8000 -v "$PWD:/app:ro" tricorn module:app        # yours
#
# BASE is any image with python3 and its venv module, 3.11 or later.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /source
# What changes seldom comes first, so that it is built seldom.
COPY deploy/image/*.lock ./
RUN python3 -m venv /opt/build && \
    /opt/build/bin/pip install --no-cache-dir --require-hashes -r build.lock && \
    /opt/build/bin/pip wheel --no-cache-dir --require-hashes -r requirements.lock -w /wheels
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY server server
COPY supervisor supervisor
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation -w /wheels .

FROM ${BASE}
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Tricorn" \
      org.opencontainers.image.description="A Python server for ASGI applications" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    python3 -m venv /opt/tricorn && \
    /opt/tricorn/bin/pip install --no-cache-dir --no-index --find-links /wheels tricorn
ENV PATH=/opt/tricorn/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /app
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
EXPOSE 8000/tcp 8443/tcp 8443/udp 9090/tcp
STOPSIGNAL SIGTERM
# Variables, so that flags change them; PORT and WEB_CONCURRENCY, because platforms set those.
ENV PORT=8000 WEB_CONCURRENCY=auto TRICORN_HEALTH_BIND=:9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3", "-m", "tricorn.healthcheck"]
ENTRYPOINT ["server"]
CMD ["tricorn.demo:app"]
