FROM python:3.11-slim
RUN useradd --create-home --uid 10001 cerebeam && mkdir /data && chown cerebeam /data
WORKDIR /opt/cerebeam
COPY setup.py constraints.txt README.md ./
COPY signals signals
COPY serving serving
COPY service service
COPY cerebeam cerebeam
RUN pip install --no-cache-dir -c constraints.txt -r serving/requirements.txt -r service/requirements.txt \
    && pip install --no-cache-dir --no-deps .
USER cerebeam
EXPOSE 8000
CMD ["cerebeam", "serve"]
