# An example of a protected application: any base image, with `lictor run` in front of the program.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
COPY lictor /usr/bin/lictor
USER 65532:65532
ENTRYPOINT ["/usr/bin/lictor", "run"]
