// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Programs that everybody uses, from Debian's packages, through the mesh, and a TLS program that is not ours at one
// end.
#include <filesystem>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/e2e/mesh/mesh_lab.hpp"

namespace weft::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class MeshPrograms : public MeshLab {
protected:
    /// How much of it: less where every instruction is emulated.
    static int load(int on_the_machine, int in_a_guest) { return in_guest() ? in_a_guest : on_the_machine; }

    /// A server in the server's pod until the end of the test; its folder is /tmp of the pod.
    class Server {
    public:
        explicit Server(const std::string& line)
            : output_(std::async(std::launch::async, [line] {
                  return lab().in_pod("shop/api", "cd /tmp; echo $$ >server.pid; exec " + line + " 2>&1");
              })) {}
        Server(const Server&) = delete;
        Server& operator=(const Server&) = delete;
        ~Server() {
            (void)lab().in_pod("shop/api", "kill $(cat /tmp/server.pid)");
            output_.wait();
        }

    private:
        std::future<std::string> output_;
    };

    static std::string client(const std::string& line) {
        const auto done = lab().run({"exec", "shop/client", "--", "sh", "-c", "cd /tmp; { " + line + "; } 2>&1"}, "",
                                    kPatience * 1000);
        return done.output + done.error_output;
    }
    /// Repeats until the answer has the text; a server takes a moment to listen.
    static void expect_answer(const std::string& line, const std::string& text) {
        std::string answer;
        EXPECT_TRUE(eventually([&] { return (answer = client(line)).find(text) != std::string::npos; }, kPatience))
            << answer;
    }
};

TEST_F(MeshPrograms, Redis) {
    const Server server("redis-server --port 6379 --protected-mode no --save '' --daemonize no");
    const auto at = "-h " + address("api") + " ";
    expect_answer("redis-cli " + at + "ping", "PONG");
    EXPECT_EQ(client("redis-cli " + at + "set key value"), "OK\n");
    EXPECT_EQ(client("redis-cli " + at + "get key"), "value\n");
    EXPECT_THAT(client(fmt::format("redis-benchmark {} -q -n {} -c 10 -t set,get -d 5000", at, load(5000, 500))),
                AllOf(HasSubstr("SET:"), HasSubstr("GET:"), Not(HasSubstr("rror"))));
}

TEST_F(MeshPrograms, PostgresqlAndPgbench) {
    // As the user whom its package makes: it does not run as root.
    const std::string as_user = "setpriv --reuid=postgres --regid=postgres --clear-groups ";
    const std::string bin = "$(ls -d /usr/lib/postgresql/*/bin | tail -1)/";
    ASSERT_THAT(lab().in_pod("shop/api", "cd /tmp; mkdir db && chown postgres db && " + as_user + bin +
                                             "initdb -D /tmp/db -U postgres -A trust --no-sync --locale=C && "
                                             "echo 'host all all all trust' >>db/pg_hba.conf && echo ready 2>&1"),
                HasSubstr("ready"));
    const Server server(as_user + bin + "postgres -D /tmp/db -k '' -c listen_addresses='*' -c fsync=off");
    const auto at = " -h " + address("api") + " -U postgres postgres";
    expect_answer(bin + "psql -tAc 'select 6 * 7'" + at, "42\n");
    EXPECT_EQ(client(bin + "psql -tAc \"select repeat('weft', 1000000)\"" + at + " | wc -c"), "4000001\n");
    const int each = load(50, 5);
    EXPECT_THAT(client(fmt::format("{0}pgbench -i -q -s 1{1} && {0}pgbench -c 8 -t {2}{1}", bin, at, each)),
                AllOf(HasSubstr(fmt::format("processed: {0}/{0}", 8 * each)), HasSubstr("failed transactions: 0 ")));
}

TEST_F(MeshPrograms, NginxAndWrk) {
    ASSERT_EQ(lab().in_pod("shop/api", R"(cat >/tmp/nginx.conf <<'END'
daemon off; pid /tmp/pid; error_log stderr; worker_processes 1; user root;
events { worker_connections 256; }
http { access_log off; client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; fastcgi_temp_path /tmp/c;
       uwsgi_temp_path /tmp/d; scgi_temp_path /tmp/e;
       server { listen 8080; listen [::]:8080; location / { return 200 "welcome\n"; } } }
END
)"),
              "");
    const Server server("/usr/sbin/nginx -c /tmp/nginx.conf");
    expect_answer("curl -s -m 20 http://" + address("api") + ":8080/", "welcome");
    for (const bool ipv6 : {false, true}) {
        const auto host = ipv6 ? "[" + address("api", true) + "]" : address("api");
        const auto report = client("wrk -t 1 -c 8 -d 2 --timeout 60 http://" + host + ":8080/");
        EXPECT_THAT(report,
                    AllOf(HasSubstr("Requests/sec"), Not(HasSubstr("Socket errors")), Not(HasSubstr("Non-2xx"))));
    }
}

TEST_F(MeshPrograms, Iperf3BothWays) {
    const Server server("iperf3 -s");
    const auto bytes = fmt::format(" -n {}M", load(200, 20));
    expect_answer("iperf3 -c " + address("api") + bytes, "iperf Done");
    expect_answer("iperf3 -R -c " + address("api", true) + bytes, "iperf Done");
}

TEST_F(MeshPrograms, SshAndScp) {
    ASSERT_THAT(lab().in_pod("shop/api",
                             "mkdir -p /run/sshd; cd /tmp; ssh-keygen -q -t ed25519 -N '' -f host && "
                             "ssh-keygen -q -t ed25519 -N '' -f user && cp user.pub keys && chmod 600 keys && "
                             "echo ready"),
                HasSubstr("ready"));
    const auto key = lab().in_pod("shop/api", "cat /tmp/user");
    (void)lab().in_pod("shop/client", "umask 077; cat >/tmp/user <<'END'\n" + key + "END\n");
    const Server server("/usr/sbin/sshd -f /dev/null -o 'Subsystem sftp internal-sftp' -D -e -p 2222 -o "
                        "HostKey=/tmp/host -o AuthorizedKeysFile=/tmp/keys "
                        "-o PermitRootLogin=yes -o StrictModes=no -o UsePAM=no -o PidFile=none");
    const std::string options =
        "-F none -i /tmp/user -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR ";
    expect_answer("ssh " + options + "-p 2222 root@" + address("api") + " echo through the mesh", "through the mesh");
    EXPECT_EQ(
        client("head -c 3000000 /dev/urandom >blob && scp -q " + options + "-P 2222 blob root@" + address("api") +
               ":/tmp/blob.there && scp -q " + options + "-P 2222 root@" + address("api") +
               ":/tmp/blob.there blob.back && test \"$(sha256sum <blob)\" = \"$(sha256sum <blob.back)\" && echo same"),
        "same\n");
}

TEST_F(MeshPrograms, GrpcUnaryAndStreams) {
    const Server server(R"(python3 -c '
import concurrent.futures, grpc
def unary(request, context): return request[::-1]
def stream(requests, context):
    for request in requests: yield request + b"!"
handler = grpc.method_handlers_generic_handler("weft.Test", {
    "Reverse": grpc.unary_unary_rpc_method_handler(unary),
    "Shout": grpc.stream_stream_rpc_method_handler(stream)})
server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((handler,))
server.add_insecure_port("[::]:50051")
server.start()
server.wait_for_termination()
')");
    expect_answer(R"(python3 -c '
import grpc
channel = grpc.insecure_channel(")" +
                      address("api") + R"(:50051")
big = bytes(range(256)) * 4000
assert channel.unary_unary("/weft.Test/Reverse")(big, timeout=60) == big[::-1]
words = [b"%d" % i for i in range(500)]
assert list(channel.stream_stream("/weft.Test/Shout")(iter(words), timeout=60)) == [w + b"!" for w in words]
print("all answered")
')",
                  "all answered");
}

TEST_F(MeshPrograms, OpensslClientWithACertificateOfTheMesh) {
    // From the client's address, but past its hooks: it does the handshake itself.
    const auto folder = std::filesystem::path(lab().folder());
    const auto ca = std::filesystem::path(weft_program()).parent_path() / "weft-ca";
    const auto state = "/run/weft/lab/" + lab().name() + "/ca";
    const auto run = [&](const std::string& line) {
        const auto done = lab::run_captured(
            {.argv = {"sh", "-c", "cd " + folder.string() + "; { " + line + "; } 2>&1"}}, kPatience * 1000);
        return done ? done->output : done.error().message();
    };
    const auto issued = run(ca.string() + " --dir " + state +
                            " issue spiffe://cluster.local/ns/shop/sa/default --out leaf && awk '/BEGIN/ { n++ } n > "
                            "1' leaf/tls.crt >chain.crt");
    const auto netns = "ip netns exec weft-" + lab().name() + "-pod-shop.client ";
    const auto answer =
        run("(echo ping; sleep 2) | " + netns + "openssl s_client -quiet -tls1_3 -alpn weft/1 -servername " +
            "api.shop.cluster.local -connect " + address("api") + ":7000 -cert leaf/tls.crt -key leaf/tls.key " +
            "-cert_chain chain.crt -CAfile leaf/ca.crt -verify_return_error");
    EXPECT_THAT(answer, HasSubstr("pong " + address("client"))) << issued;
}

} // namespace
} // namespace weft::e2e
