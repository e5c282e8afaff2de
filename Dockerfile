# The application and the bridge in one image; docker-compose.yml says which of them a container runs.
FROM python:3.11-slim
WORKDIR /app
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY streamapp streamapp
COPY bridge bridge
COPY sql sql
# --build-arg EXTRAS=[models] for engine `models`; weights are mounted, STREAMAPP_MODELS_DIR says where.
ARG EXTRAS=""
RUN pip install --no-cache-dir -c constraints.txt ".${EXTRAS}" \
    && useradd --system --create-home --home-dir /var/lib/streamapp streamapp \
    && chown streamapp /var/lib/streamapp
USER streamapp
ENV PYTHONUNBUFFERED=1 STREAMAPP_DATADIR=/var/lib/streamapp
EXPOSE 36066
CMD ["faust", "-A", "streamapp", "worker", "-l", "info"]
