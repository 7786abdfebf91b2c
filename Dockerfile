# One image a service: docker build --target gateway .   (docker compose builds them all)
# Each holds its own extra and nothing more; only the worker's has torch.
ARG PYTHON=python:3.11-slim

FROM ${PYTHON} AS wheel
# For the native runner; without a compiler the wheel would be made without it.
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml hatch_build.py constraints.txt LICENSE README.md ./
COPY protos protos
COPY gateway gateway
COPY services services
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM ${PYTHON} AS base
ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    TRUNKLINE_CACHE=/var/cache/trunkline \
    TRUNKLINE_STATE=/var/lib/trunkline
# Named volumes take their owner from these folders.
RUN useradd --system --uid 10001 --create-home trunkline \
    && install --directory --owner=trunkline --group=trunkline "$TRUNKLINE_CACHE" "$TRUNKLINE_STATE"
WORKDIR /home/trunkline
COPY constraints.txt /wheels/
COPY --from=wheel /wheels/ /wheels/

FROM base AS gateway
RUN pip install -c /wheels/constraints.txt "$(ls /wheels/*.whl)[gateway]"
USER trunkline
EXPOSE 8080 8081 50056
CMD ["python", "-m", "gateway"]

FROM base AS tokenizer
RUN pip install -c /wheels/constraints.txt "$(ls /wheels/*.whl)[tokenizer]"
USER trunkline
EXPOSE 50051
CMD ["python", "-m", "services.tokenizer"]

FROM base AS worker
# The index that torch comes from, beside PyPI. A build of the same version that names its kind (2.13.0+cpu) is
# preferred to PyPI's, which is several gigabytes of CUDA. For a GPU: --build-arg TORCH_INDEX=https://pypi.org/simple
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --extra-index-url "$TORCH_INDEX" -c /wheels/constraints.txt "$(ls /wheels/*.whl)[worker]"
USER trunkline
EXPOSE 50052
CMD ["python", "-m", "services.inference_worker"]

FROM base AS recommender
RUN pip install -c /wheels/constraints.txt "$(ls /wheels/*.whl)[recommender]"
USER trunkline
EXPOSE 50053
CMD ["python", "-m", "services.recommender"]

FROM base AS rl_policy
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --extra-index-url "$TORCH_INDEX" -c /wheels/constraints.txt "$(ls /wheels/*.whl)[policy]"
USER trunkline
EXPOSE 50054
CMD ["python", "-m", "services.rl_policy"]

FROM base AS monitor
RUN pip install -c /wheels/constraints.txt "$(ls /wheels/*.whl)[monitor]"
USER trunkline
EXPOSE 50055 9464
CMD ["python", "-m", "services.monitor"]
