# Tricorn with its demo application; an application's own image starts FROM it.
#
#     docker build -t tricorn .
#     docker run -p 8000:8000 tricorn                                     # the demo
#     docker run -p 8000:8000 -v "$PWD:/app:ro" tricorn module:app        # yours
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /source
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY server server
COPY supervisor supervisor
RUN python -m venv /opt/tricorn && /opt/tricorn/bin/pip install --no-cache-dir .

FROM ${BASE}
COPY --from=build /opt/tricorn /opt/tricorn
ENV PATH=/opt/tricorn/bin:$PATH PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# Variables, so that flags and other variables of the same names change them.
ENV TRICORN_BIND=0.0.0.0:8000 TRICORN_WORKERS=auto
ENTRYPOINT ["server"]
CMD ["tricorn.demo:app"]
