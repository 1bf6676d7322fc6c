# A machine with systemd and what the Debian package depends on; the package itself in two versions.
ARG BUILT
ARG BASE

FROM $BUILT AS packages
RUN apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends dpkg-dev \
    && make -s deb \
    && packaging/deb/build "$(bin/peervault version | cut -d ' ' -f 2)+next" build/deb-next

FROM $BASE
COPY --from=packages /src/build/deb/ /packages/now/
COPY --from=packages /src/build/deb-next/ /packages/next/
RUN apt-get update -q \
    && dpkg-deb -f "$(ls /packages/now/*.deb)" Depends \
        | sed 's/([^)]*)//g; s/,//g' \
        | DEBIAN_FRONTEND=noninteractive xargs apt-get install -q -y --no-install-recommends \
            systemd systemd-sysv \
    && rm -rf /var/lib/apt/lists/*
STOPSIGNAL SIGRTMIN+3
