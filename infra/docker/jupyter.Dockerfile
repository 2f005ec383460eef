FROM python:3.11-slim
WORKDIR /work
COPY setup.py constraints.txt README.md ./
COPY signals signals
RUN pip install --no-cache-dir jupyterlab && useradd --create-home --uid 10001 jupyter
USER jupyter
EXPOSE 8888
CMD ["jupyter", "lab", "--ip", "0.0.0.0", "--port", "8888", "--no-browser"]
