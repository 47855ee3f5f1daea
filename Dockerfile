# On top of the Open WebUI image that you run (--build-arg OPEN_WEBUI_IMAGE=…): that image with this
# package in it, or, with --target operator, what the OpenTelemetry Operator copies into its pods.
# With the Prometheus exporter: --build-arg EXTRAS=[prometheus].
ARG OPEN_WEBUI_IMAGE

# Only what the image lacks goes to the prefix, built for the Python that it has: its own versions of
# everything else stay in force. The operator starts Python with the module that is copied.
FROM ${OPEN_WEBUI_IMAGE} AS lacking
ARG EXTRAS
COPY . /tmp/package
RUN pip install --no-cache-dir --prefix /tmp/prefix "/tmp/package${EXTRAS}" \
    && mv /tmp/prefix/lib/python*/site-packages /autoinstrumentation \
    && module=opentelemetry.instrumentation.auto_instrumentation \
    && cp -r "$(python -c "import $module as it; print(it.__path__[0])")" \
        /autoinstrumentation/opentelemetry/instrumentation/ \
    && chmod -R go+rX /autoinstrumentation

FROM busybox:1.38 AS operator
COPY --from=lacking /autoinstrumentation /autoinstrumentation
USER 1000:1000

FROM ${OPEN_WEBUI_IMAGE}
ARG EXTRAS
COPY . /tmp/package
RUN pip install --no-cache-dir "/tmp/package${EXTRAS}" && rm -rf /tmp/package
CMD ["opentelemetry-instrument", "bash", "start.sh"]
