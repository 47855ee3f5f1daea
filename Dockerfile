# Open WebUI's own image with this package in it, started by opentelemetry-instrument.
ARG OPEN_WEBUI_IMAGE
FROM ${OPEN_WEBUI_IMAGE}
COPY . /tmp/opentelemetry-instrumentation-open-webui
RUN pip install --no-cache-dir /tmp/opentelemetry-instrumentation-open-webui \
    && rm -rf /tmp/opentelemetry-instrumentation-open-webui
CMD ["opentelemetry-instrument", "bash", "start.sh"]
