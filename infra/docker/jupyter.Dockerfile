# Notebooks of the dev profile.
FROM python:3.11.13-slim-bookworm
WORKDIR /work
COPY setup.py constraints.txt README.md ./
COPY signals signals
RUN pip install --no-cache-dir jupyterlab==4.6.6 && useradd --create-home --uid 10001 jupyter
USER 10001
EXPOSE 8888
CMD ["jupyter", "lab", "--ip", "0.0.0.0", "--port", "8888", "--no-browser"]
