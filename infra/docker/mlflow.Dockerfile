FROM python:3.11-slim
RUN pip install --no-cache-dir mlflow==3.17.2 && useradd --create-home --uid 10001 mlflow && mkdir /mlflow && chown mlflow /mlflow
USER mlflow
EXPOSE 5000
CMD ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--backend-store-uri", "sqlite:////mlflow/mlflow.db", "--artifacts-destination", "/mlflow/artifacts"]
