# The licence server, and the customer's verbs of `lictor` by another entry point. The state lives in a named volume.
FROM scratch
COPY license-server /usr/bin/license-server
COPY license-server /usr/bin/lictor
COPY --chown=65532:65532 empty/ /var/lib/lictor/
USER 65532:65532
WORKDIR /var/lib/lictor
EXPOSE 22350 22352
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/usr/bin/license-server", "health"]
ENTRYPOINT ["/usr/bin/license-server"]
