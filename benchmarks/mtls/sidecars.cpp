// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "benchmarks/mtls/sidecars.hpp"

#include <fstream>

#include <fmt/core.h>

#include "tools/lab/process.hpp"

namespace weft::bench {
namespace {

// A root and two leaves as weft-ca would sign them.
constexpr const char* kCertificates = R"(set -e
cd "$1"
openssl ecparam -name prime256v1 -genkey -noout -out root.key
openssl req -x509 -new -key root.key -subj /CN=benchmark -days 2 -out root.pem \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
for side in client server; do
    openssl ecparam -name prime256v1 -genkey -noout -out $side.key
    openssl req -new -key $side.key -subj /CN=$side -out $side.csr
    printf '%s\n' "subjectAltName=critical,URI:spiffe://cluster.local/ns/shop/sa/$side" \
        basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature extendedKeyUsage=serverAuth,clientAuth \
        subjectKeyIdentifier=hash authorityKeyIdentifier=keyid >$side.ext
    openssl x509 -req -in $side.csr -CA root.pem -CAkey root.key -CAcreateserial -days 1 -extfile $side.ext -out $side.pem
    cat $side.pem $side.key >$side.both
    chmod 644 $side.key $side.both
done
)";

constexpr const char* kHaproxyClient = R"(global
    maxconn 4000
    nbthread 1
defaults
    mode tcp
    timeout connect 60s
    timeout client 1h
    timeout server 1h
listen full
    bind 127.0.0.1:{0}
    server peer {2}:{3} ssl verify required ca-file {4}/root.pem crt {4}/client.both force-tlsv13 no-ssl-reuse
listen resumed
    bind 127.0.0.1:{1}
    server peer {2}:{3} ssl verify required ca-file {4}/root.pem crt {4}/client.both force-tlsv13
)";

constexpr const char* kHaproxyServer = R"(global
    maxconn 4000
    nbthread 1
defaults
    mode tcp
    timeout connect 60s
    timeout client 1h
    timeout server 1h
listen tls
    bind :{0} ssl crt {2}/server.both ca-file {2}/root.pem verify required ssl-min-ver TLSv1.3
    server app 127.0.0.1:{1}
)";

constexpr const char* kNginxClient = R"(load_module /usr/lib/nginx/modules/ngx_stream_module.so;
worker_processes 1;
pid {3}/nginx-client.pid;
error_log {3}/nginx-client.log;
events {{ worker_connections 4000; }}
stream {{
    server {{
        listen 127.0.0.1:{0};
        tcp_nodelay on;
        proxy_pass {1}:{2};
        proxy_ssl on;
        proxy_ssl_protocols TLSv1.3;
        proxy_ssl_certificate {3}/client.pem;
        proxy_ssl_certificate_key {3}/client.key;
        proxy_ssl_trusted_certificate {3}/root.pem;
        proxy_ssl_verify on;
        proxy_ssl_name server;
        proxy_timeout 1h;
    }}
}}
)";

constexpr const char* kNginxServer = R"(load_module /usr/lib/nginx/modules/ngx_stream_module.so;
worker_processes 1;
pid {2}/nginx-server.pid;
error_log {2}/nginx-server.log;
events {{ worker_connections 4000; }}
stream {{
    server {{
        listen {0} ssl;
        tcp_nodelay on;
        ssl_protocols TLSv1.3;
        ssl_certificate {2}/server.pem;
        ssl_certificate_key {2}/server.key;
        ssl_client_certificate {2}/root.pem;
        ssl_verify_client on;
        proxy_pass 127.0.0.1:{1};
        proxy_timeout 1h;
    }}
}}
)";

Result<> write(const std::string& path, const std::string& text) {
    std::ofstream file(path);
    file << text;
    if (!file.flush()) {
        return system_failure("writing {}", path);
    }
    return {};
}

} // namespace

Result<> write_certificates(const std::string& folder) {
    WEFT_ASSIGN(const auto done, lab::run_captured({.argv = {"/bin/sh", "-c", kCertificates, "sh", folder}}, 300'000));
    if (done.exit_code != 0) {
        return failure(EIO, "making certificates: {}", done.error_output);
    }
    return {};
}

Result<> write_configurations(const std::string& folder, const std::string& server_address) {
    WEFT_TRY(write(folder + "/haproxy-client.cfg",
                   fmt::format(kHaproxyClient, kHaproxyPort, kHaproxyResumed, server_address, kHaproxyTls, folder)));
    WEFT_TRY(write(folder + "/haproxy-server.cfg", fmt::format(kHaproxyServer, kHaproxyTls, kServerPort, folder)));
    WEFT_TRY(
        write(folder + "/nginx-client.conf", fmt::format(kNginxClient, kNginxPort, server_address, kNginxTls, folder)));
    return write(folder + "/nginx-server.conf", fmt::format(kNginxServer, kNginxTls, kServerPort, folder));
}

} // namespace weft::bench
