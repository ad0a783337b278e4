# syntax=docker/dockerfile:1

# ── build ────────────────────────────────────────────────────────────────────────────────────────────
# Debian 12 in both stages, so that the binary meets the glibc it was linked with.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /build

# The slim image has gcc and libc6-dev, which is all that aws-lc-sys needs on linux/amd64 and linux/arm64.

# Dependencies first, against empty sources: this layer is kept until Cargo.toml or Cargo.lock change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --bin sidegate \
    && rm -r src

COPY LICENSE README.md config.example.toml ./
COPY src ./src
# Cargo compares times: the copied sources must be newer than the empty ones.
RUN find src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --bin sidegate

# ── run ──────────────────────────────────────────────────────────────────────────────────────────────
# glibc, libgcc and the certificate authorities; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sidegate" \
      org.opencontainers.image.description="An authentication sidecar: a reverse proxy that validates tokens and sets trusted identity headers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY --from=build /build/target/release/sidegate /usr/local/bin/sidegate
COPY --from=build /build/LICENSE /usr/share/doc/sidegate/LICENSE

# A number, so that Kubernetes can verify runAsNonRoot. It is the user "nonroot" of the base image.
USER 65532:65532

# Requests, and probes with metrics. Nothing is written to the file system.
EXPOSE 8080 9090

# Ready means: the issuers' keys were had once. The configuration says where the admin listener is.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/sidegate", "healthcheck"]

ENTRYPOINT ["/usr/local/bin/sidegate"]
CMD ["run", "--config", "/etc/sidegate/config.toml"]
