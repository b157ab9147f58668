# The program rr, for compose.yaml and for machines that run containers: docker build -t rr .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package rr

FROM debian:bookworm-slim
RUN useradd --system --create-home --home-dir /var/lib/rr rr
# The authorities that servers with TLS are checked by.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/rr /usr/local/bin/rr
USER rr
ENV RR_STATE_DIR=/var/lib/rr
ENTRYPOINT ["rr"]
