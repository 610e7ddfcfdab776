# The worker, the gateway and the mock payment-api: `docker build --target worker`, `gateway` or `mock`.
# The embedded Temporal server and everything that tests need stay out: requirements.lock does not name them.
FROM python:3.13-slim AS build
WORKDIR /build
RUN python -m venv --without-pip /opt/venv
COPY requirements.lock ./
RUN pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --require-hashes --requirement requirements.lock
COPY . ./
# The images are read-only where they run: the bytecode is made here, or at every start.
RUN python -m compileall -q --invalidation-mode unchecked-hash .

FROM python:3.13-slim AS base
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
USER 10001:10001

FROM base AS mock
ENV MOCK_HOST=0.0.0.0
COPY --from=build /build/mock_service ./mock_service
EXPOSE 3000
ENTRYPOINT ["python", "-m", "mock_service"]

FROM base AS incidents
COPY --from=build /build/activities ./activities
COPY --from=build /build/incident ./incident
COPY --from=build /build/integrations ./integrations
COPY --from=build /build/workflows ./workflows

FROM incidents AS gateway
ENV GATEWAY__BIND=0.0.0.0:8080
COPY --from=build /build/gateway ./gateway
EXPOSE 8080
ENTRYPOINT ["python", "-m", "gateway"]

FROM incidents AS worker
ARG BUILD_ID=0.1.0
ENV WORKER__BUILD_ID=$BUILD_ID \
    WORKER__HEALTH_BIND=0.0.0.0:8081
COPY --from=build /build/worker ./worker
EXPOSE 8081 9464
ENTRYPOINT ["python", "-m", "worker"]
