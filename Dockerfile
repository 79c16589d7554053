# champion-gate in one small image: `docker build -t champion-gate .`
# The base is named by its tag: no registry of images could be asked for a digest where this was written. Whoever builds for production
# pins it: --build-arg BASE=python:3.13-slim-trixie@sha256:…
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# Everything is fetched here, checked against the lock's hashes; after this line nothing is downloaded.
COPY requirements.lock ./
RUN python -m pip wheel --require-hashes --requirement requirements.lock --wheel-dir /wheels \
 && python -m pip install --require-hashes --requirement requirements.lock --no-index --find-links /wheels
COPY pyproject.toml README.md LICENSE ./
COPY service ./service
COPY deploy/github/champion-gate.yml ./deploy/github/
COPY deploy/gitlab/champion-gate.gitlab-ci.yml ./deploy/gitlab/
# The build back end stays behind: from the wheels, the second environment takes what the service needs and no more.
RUN python -m pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheels . \
 && python -m venv --without-pip /opt/champion-gate \
 && python -m pip --python /opt/champion-gate/bin/python install --no-index --find-links /wheels champion-gate

FROM ${BASE}
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="champion-gate" \
      org.opencontainers.image.description="Human approval in CI/CD before a trained model version becomes Champion" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Numeric, so that Kubernetes can see that it is not root.
RUN python -m pip uninstall --yes --root-user-action=ignore pip \
 && groupadd --gid 10001 gate \
 && useradd --uid 10001 --gid gate --no-create-home --home-dir /var/lib/champion-gate --shell /usr/sbin/nologin gate \
 && install --directory --owner gate --group gate --mode 0750 /var/lib/champion-gate
COPY --from=build /opt/champion-gate /opt/champion-gate
ENV PATH=/opt/champion-gate/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CHAMPION_GATE_HOST=0.0.0.0 \
    CHAMPION_GATE_CONFIG=/etc/champion-gate/gates.yaml
# Where the database is, unless a variable or a secret file names another.
WORKDIR /var/lib/champion-gate
VOLUME ["/var/lib/champion-gate"]
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 CMD ["champion-gate", "healthcheck"]
ENTRYPOINT ["champion-gate"]
CMD ["serve"]
