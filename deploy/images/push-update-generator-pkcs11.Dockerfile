# The push-update-generator beside its key agent, for firms whose keys lie in a PKCS#11 token. The only image that is not
# `FROM scratch`: the agent loads the token's module at run time. Add the module of your token's maker, or mount it.
# Context as made by deploy/build-images.sh when LICTOR_KEY_AGENT names the agent.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY push-update-generator lictor-key-agent /usr/bin/
COPY --chown=65532:65532 empty/ /var/lib/lictor/
COPY --chown=65532:65532 empty/ /var/lib/tokens/
COPY --chown=65532:65532 empty/ /run/lictor/
USER 65532:65532
WORKDIR /var/lib/lictor
EXPOSE 7030 7031
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["/usr/bin/push-update-generator", "health"]
ENTRYPOINT ["/usr/bin/push-update-generator"]
