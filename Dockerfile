# The image holds one static binary, the root certificates, and a user: no shell, no package manager.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/rheomesh ./cmd/rheomesh \
 && mkdir -p /out/data /out/etc \
 && echo 'rheomesh:x:65532:65532::/data:/rheomesh' > /out/etc/passwd \
 && echo 'rheomesh:x:65532:' > /out/etc/group

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/etc /etc
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build /out/rheomesh /rheomesh
USER 65532:65532
ENV RHEOMESH_DATA_DIR=/data
VOLUME /data
# HTTP: page, WHIP, WHEP, API. Media: UDP, and TCP for clients behind firewalls that block UDP.
EXPOSE 8080/tcp 10000/udp 10000/tcp 9443/udp 9443/tcp
HEALTHCHECK --interval=10s --timeout=4s --start-period=5s CMD ["/rheomesh", "healthcheck"]
ENTRYPOINT ["/rheomesh"]
CMD ["serve"]
