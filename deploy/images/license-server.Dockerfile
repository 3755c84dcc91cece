# The licence server, and the customer's verbs of `lictor` by another entry point. The state lives in a named volume.
# CM_LICENSE_FILE names files to import at the start. Exit codes: 15 settings that do not go together or ask for what is not
# there, 16 a file is missing, 17 a file cannot be imported.
FROM scratch
COPY license-server /usr/bin/license-server
# A link named lictor.
COPY entries/ /usr/bin/
COPY --chown=65532:65532 empty/ /var/lib/lictor/
USER 65532:65532
WORKDIR /var/lib/lictor
EXPOSE 22350 22352
STOPSIGNAL SIGTERM
# Healthy when at least one licence could be handed out; else it says why not.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/usr/bin/license-server", "health"]
ENTRYPOINT ["/usr/bin/license-server"]
