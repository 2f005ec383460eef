# Models, training and the system on :8050. It asks for no token and so listens on its own loopback address alone: reached
# through the machine's network or `kubectl port-forward`. Build from the repository's root:
#   docker build -f infra/docker/dashboard.Dockerfile -t IMAGE .
FROM python:3.11.13-slim-bookworm AS build

WORKDIR /src
RUN python -m venv /opt/cerebeam
COPY setup.py pyproject.toml constraints.txt README.md ./
COPY signals signals
COPY audit audit
COPY explain explain
COPY serving serving
COPY service service
COPY cerebeam cerebeam
RUN /opt/cerebeam/bin/pip install --no-cache-dir --constraint constraints.txt '.[service,dashboard]'

FROM python:3.11.13-slim-bookworm

COPY --from=build /opt/cerebeam /opt/cerebeam
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin cerebeam
ENV PATH=/opt/cerebeam/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
USER 10001:10001
WORKDIR /tmp
EXPOSE 8050
CMD ["python", "-m", "service.dashboard.app", "--set", "training.output=/runs"]
