# The HTTP service of `isac-torch serve`, without torch: docker build -t isac-torch . && docker run --rm -p 8000:8000 isac-torch
# A bundle of your own: docker run --rm -p 8000:8000 -v "$PWD/runs/bundle:/bundle:ro" isac-torch serve /bundle --host 0.0.0.0
FROM python:3.13-slim AS build
# For the compiled core; the image that is kept has no compiler. Its version is that of the base image:
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
COPY isac_torch isac_torch
COPY native native
COPY configs configs
COPY datasets datasets
COPY trainers trainers
RUN python -m venv /venv \
 && PIP_CONSTRAINT=constraints.txt /venv/bin/pip install --no-cache-dir --disable-pip-version-check '.[runtime,serve]'

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home isac
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["isac-torch"]
CMD ["serve", "shipped", "--host", "0.0.0.0"]
