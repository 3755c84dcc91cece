# One static binary, nothing else. The context is made by deploy/build-images.sh; builds with the classic builder too.
FROM scratch
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY notification-dispatcher /usr/bin/notification-dispatcher
COPY --chown=65532:65532 empty/ /var/lib/lictor/
USER 65532:65532
WORKDIR /var/lib/lictor
EXPOSE 7080 7081
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["/usr/bin/notification-dispatcher", "health"]
ENTRYPOINT ["/usr/bin/notification-dispatcher"]
