# The program `lictor` with all verbs: for the vendor's staff, and as an entry point that takes a seat before a command.
FROM scratch
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY lictor /usr/bin/lictor
COPY --chown=65532:65532 empty/ /var/lib/lictor/
COPY --chown=65532:65532 empty/ /secrets/
COPY --chown=65532:65532 empty/ /trust/
USER 65532:65532
WORKDIR /var/lib/lictor
ENTRYPOINT ["/usr/bin/lictor"]
