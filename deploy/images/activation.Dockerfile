# One static binary, nothing else. The context is made by deploy/build-images.sh; builds with the classic builder too.
FROM scratch
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY activation /usr/bin/activation
COPY --chown=65532:65532 empty/ /var/lib/lictor/
USER 65532:65532
WORKDIR /var/lib/lictor
EXPOSE 7020 7021
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["/usr/bin/activation", "health"]
ENTRYPOINT ["/usr/bin/activation"]
