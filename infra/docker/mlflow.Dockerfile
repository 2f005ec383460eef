# MLflow's server with SQLite and artifacts below /mlflow. It has no users of its own: keep it on a closed network.
FROM python:3.11.13-slim-bookworm

WORKDIR /mlflow
COPY constraints.txt ./
RUN pip install --no-cache-dir -c constraints.txt mlflow==3.17.2 \
    && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin mlflow \
    && install -d -o 10001 -g 10001 -m 700 /mlflow
ENV HOME=/tmp
USER 10001:10001
EXPOSE 5000
CMD ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--backend-store-uri", "sqlite:////mlflow/mlflow.db", "--artifacts-destination", "/mlflow/artifacts"]
