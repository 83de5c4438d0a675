# CPU image: docker build -t concertdeblur . && docker run --rm -v "$PWD:/clips" concertdeblur video /clips/in.mp4 /clips/out.mp4
# `.ci/docker` builds it and runs it on the sample, where a Docker engine runs. None was at hand yet: not built so far.
# Who passes the image on passes on FFmpeg with x264 and x265, too: THIRD_PARTY.md.
FROM python:3.11-slim-bookworm
RUN apt-get update \
    && apt-get install -y --no-install-recommends ffmpeg libgl1 libglib2.0-0 libx11-6 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE THIRD_PARTY.md ./
COPY concertdeblur concertdeblur
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu -c constraints.txt '.[openvino]'
ENTRYPOINT ["concertdeblur"]
