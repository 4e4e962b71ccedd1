# SPDX-License-Identifier: Apache-2.0
# The image holds one dynamically linked binary at /manager and the files that it needs: the C library,
# certificates of public authorities, time zones. No shell, no package manager, nothing to write to.
#
# Its content is assembled by deploy/image-root.sh into an empty image rather than added to a ready-made
# base, for two reasons: what the image holds can be tried without a container engine (the tests run the
# binary in such a directory, as the same user), and the C library is the very one it was linked against.
# It is that of a minimal "distroless cc" image, file for file, and not a static binary: see the script.
#
#   docker build -t aibrix/controller-manager:rust-v0.1.0 .
#   docker buildx build --platform linux/amd64,linux/arm64 …

ARG RUST=1.95.0
ARG DEBIAN=trixie

FROM rust:${RUST}-slim-${DEBIAN} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates tzdata \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# Not rust-toolchain.toml: it would download a formatter and a linter. A test keeps RUST equal to it.
COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY src src
COPY deploy/image-root.sh deploy/image-root.sh
RUN cargo build --release --locked --bin aibrix-controller-manager \
    && deploy/image-root.sh target/release/aibrix-controller-manager /image

FROM scratch
COPY --from=build /image/ /
# By number, so that `runAsNonRoot` can be checked without the image's /etc/passwd.
USER 65532:65532
ENTRYPOINT ["/manager"]
