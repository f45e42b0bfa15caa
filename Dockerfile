# syntax=docker/dockerfile:1
# The image of kafka-wasm-host: one binary, its certificates and an empty handlers folder.
#
#   docker build -t kafka-wasm-host .
#   docker run -v "$PWD/handlers:/handlers:ro" -e KAFKA_WASM_BROKERS=kafka:9092 -p 8080:8080 kafka-wasm-host
#
# Both base images are arguments. The build image brings cargo 1.95 or newer, gcc, g++, make and perl, or a
# Debian on which the first step can install the last four. The run image needs glibc, as old as the build
# image's or newer.
ARG BUILD_IMAGE=rust:1.95-bookworm
ARG RUN_IMAGE=debian:bookworm-slim

FROM ${BUILD_IMAGE} AS build
# Perl is for OpenSSL's own build. The rust image has all of it, and then nothing is fetched.
RUN if ! { command -v cc && command -v c++ && command -v make && perl -MFindBin -e 1; } > /dev/null 2>&1; then \
        apt-get update && \
        apt-get install -y --no-install-recommends gcc g++ make perl pkg-config ca-certificates && \
        rm -rf /var/lib/apt/lists/*; \
    fi
WORKDIR /src
COPY . .
# With `static`, OpenSSL, zlib and zstd are part of the binary: only glibc is left to the run image.
RUN cargo build --locked --release -p kafka-wasm-host --features static && \
    strip -o /kafka-wasm-host target/release/kafka-wasm-host && \
    mkdir -p /rootfs/etc/ssl/certs && \
    if [ -f /etc/ssl/certs/ca-certificates.crt ]; then \
        cp /etc/ssl/certs/ca-certificates.crt /rootfs/etc/ssl/certs/; \
    fi

FROM ${RUN_IMAGE}
COPY --from=build /rootfs/ /
COPY --from=build /kafka-wasm-host /usr/local/bin/kafka-wasm-host
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/kafka-wasm-host/
# Numeric, so that an orchestrator can see that it is not root. The host writes compiled components into
# its cache and nothing else; the handlers can be mounted read-only.
RUN mkdir -p /handlers /var/cache/kafka-wasm-host && \
    chown 10001:10001 /var/cache/kafka-wasm-host && \
    chmod 700 /var/cache/kafka-wasm-host
USER 10001:10001
ENV KAFKA_WASM_CACHE=/var/cache/kafka-wasm-host
VOLUME ["/handlers", "/var/cache/kafka-wasm-host"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["kafka-wasm-host", "health"]
# The brokers come from KAFKA_WASM_BROKERS.
ENTRYPOINT ["kafka-wasm-host"]
CMD ["serve", "--handlers", "/handlers", "--http", "0.0.0.0:8080"]
