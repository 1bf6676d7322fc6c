# PeerVault in a container. Any builder will do; nothing here needs BuildKit.
#
#   docker build -t peervault .                 the program, its libraries, an empty vault
#   docker build --target test .                builds, and runs the unit and integration tests
#
# A builder without BuildKit goes through every stage above the wanted one, tests included:
# --build-arg TESTS=no spares it that.

FROM debian:bookworm-slim AS build
RUN apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        gcc libc6-dev make pkg-config libssl-dev libuv1-dev libxxhash-dev libsqlite3-dev \
        libjansson-dev libinih-dev libseccomp-dev libedit-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The libraries go where they cannot hide a file of the base image; libc and libm are its own.
RUN make -j "$(nproc)" all \
    && install -D -s bin/peervault /out/bin/peervault \
    && mkdir -p /out/lib \
    && ldd bin/peervault \
        | awk '$3 ~ /^\// && $1 !~ /^lib(c|m|pthread|dl|rt)\.so/ { print $3 }' \
        | xargs -I '{}' cp -L '{}' /out/lib/

FROM build AS test
ARG TESTS=yes
RUN if [ "$TESTS" = yes ]; then \
        apt-get update -q \
        && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
            libcriterion-dev python3 python3-cryptography \
        && make -j "$(nproc)" unit \
        && make integration; \
    fi

FROM debian:bookworm-slim
COPY --from=build /out/ /usr/local/
RUN ldconfig \
    && useradd --system --uid 10001 --user-group --no-create-home \
        --home-dir /var/lib/peervault --shell /usr/sbin/nologin peervault \
    && install -d -o peervault -g peervault -m 0700 /var/lib/peervault
ENV PEERVAULT_VAULT=/var/lib/peervault PEERVAULT_LISTEN=0.0.0.0:3000
USER peervault
VOLUME /var/lib/peervault
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=5s --retries=3 \
    CMD ["peervault", "status", "--quiet"]
ENTRYPOINT ["peervault"]
CMD ["daemon"]
