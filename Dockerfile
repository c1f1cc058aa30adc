# Everything in one image: API, worker, command line, the text encoder, and the embedded stores for `duoscene up`.
#   docker build -t duoscene .
#   docker build -t duoscene --build-arg TORCH_INDEX_URL=<index of CPU-only torch wheels> .     (gigabytes smaller)
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
ARG TORCH_INDEX_URL=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/srv/duoscene/bin:$PATH
RUN python3 -m venv /srv/duoscene
WORKDIR /src
# The dependencies form a layer of their own, which a change of our code does not touch.
COPY pyproject.toml README.md LICENSE ./
COPY scripts/constraints.txt scripts/
RUN mkdir app && touch app/__init__.py \
 && pip install -c scripts/constraints.txt ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} . \
 && pip uninstall -y duoscene \
 && cd /srv/duoscene/lib/python3*/site-packages \
 && rm -rf torch/include torch/share torch/test pyarrow/include pyarrow/tests \
 && find torch/bin -mindepth 1 ! -name torch_shm_manager -delete \
 && find . -type d -name tests -path '*/scipy/*' -prune -exec rm -rf {} + \
 && find . -type d -name tests -path '*/sklearn/*' -prune -exec rm -rf {} +
COPY app app
COPY migrations migrations
RUN pip install --no-deps . && pip uninstall -y pip && python3 -c 'import app.cli, app.wiring.services, app.wiring.training'

FROM ${BASE}
RUN groupadd --gid 10001 duoscene \
 && useradd --uid 10001 --gid duoscene --no-create-home --home-dir /data --shell /usr/sbin/nologin duoscene \
 && install -d -o duoscene -g duoscene -m 0755 /data
COPY --from=build /srv/duoscene /srv/duoscene
ENV PATH=/srv/duoscene/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HF_HUB_OFFLINE=1 \
    DUOSCENE_DATA_DIR=/data \
    DUOSCENE_HOST=0.0.0.0
USER duoscene
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=2m --retries=3 \
  CMD ["python3", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ.get('DUOSCENE_PORT', '8000') + '/healthz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["duoscene"]
CMD ["up"]
