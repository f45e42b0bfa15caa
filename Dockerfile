# syntax=docker/dockerfile:1
# The image of kafka-wasm-host: one binary, its certificates and an empty handlers folder.
#
#   docker build -t kafka-wasm-host .
#   docker run -v "$PWD/handlers:/handlers:ro" -e KAFKA_WASM_BROKERS=kafka:9092 -p 8080:8080 kafka-wasm-host
#
# Both base images are arguments. The build image brings cargo 1.95 or newer, gcc, g++, make and perl, or is a
# Debian on which the first step can install the last four. The run image may be empty: what the binary needs of
# glibc is copied along. Give a Debian as RUN_IMAGE to have a shell in it.
ARG BUILD_IMAGE=rust:1.95-bookworm
ARG RUN_IMAGE=scratch

FROM ${BUILD_IMAGE} AS build
# Perl is for OpenSSL's own build. The rust image has all of it, and then nothing is fetched.
RUN if ! { command -v cc && command -v c++ && command -v make && perl -MFindBin -e 1; } > /dev/null 2>&1; then \
        apt-get update && \
        apt-get install -y --no-install-recommends gcc g++ make perl pkg-config ca-certificates libc6-dev && \
        rm -rf /var/lib/apt/lists/*; \
    fi
WORKDIR /src
COPY . .
# With `static`, OpenSSL, zlib and zstd are part of the binary: only glibc is left to copy.
RUN cargo build --locked --release -p kafka-wasm-host --features static && \
    mkdir -p /rootfs/usr/local/bin /rootfs/usr/share/doc/kafka-wasm-host /rootfs/etc/ssl/certs /rootfs/handlers && \
    strip -o /rootfs/usr/local/bin/kafka-wasm-host target/release/kafka-wasm-host && \
    cp LICENSE-MIT LICENSE-APACHE /rootfs/usr/share/doc/kafka-wasm-host/ && \
    for library in $(ldd target/release/kafka-wasm-host | grep -o '/[^ ]*'); do \
        mkdir -p "/rootfs$(dirname "$library")" && cp -L "$library" "/rootfs$library"; \
    done && \
    if [ -f /etc/ssl/certs/ca-certificates.crt ]; then \
        cp /etc/ssl/certs/ca-certificates.crt /rootfs/etc/ssl/certs/; \
    fi && \
    mkdir -p -m 700 /cache/kafka-wasm-host

FROM ${RUN_IMAGE}
COPY --from=build /rootfs/ /
# The host writes compiled components into its cache and nothing else; the handlers can be mounted read-only.
COPY --from=build --chown=10001:10001 /cache/ /var/cache/
# Numeric, so that an orchestrator can see that it is not root.
USER 10001:10001
ENV KAFKA_WASM_CACHE=/var/cache/kafka-wasm-host
VOLUME ["/handlers", "/var/cache/kafka-wasm-host"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["kafka-wasm-host", "health"]
# The brokers come from KAFKA_WASM_BROKERS.
ENTRYPOINT ["kafka-wasm-host"]
CMD ["serve", "--handlers", "/handlers", "--http", "0.0.0.0:8080"]
