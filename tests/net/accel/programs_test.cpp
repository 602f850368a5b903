// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Programs that everybody uses, unchanged, between two joined workloads. Each is skipped where it is not installed.
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sys/wait.h>

#include "tests/net/accel/joined.hpp"

namespace weft::test {
namespace {

namespace fs = std::filesystem;

class AccelPrograms : public JoinedTest {
protected:
    /// A server in the server's namespace until the end of the test.
    class Server {
    public:
        Server(const World& world, const std::string& line) {
            world.server.run([&] {
                pid_ = ::fork();
                if (pid_ == 0) {
                    (void)::setpgid(0, 0);
                    ::execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
                    ::_exit(127);
                }
            });
        }
        ~Server() {
            (void)::kill(-pid_, SIGTERM);
            (void)::waitpid(pid_, nullptr, 0);
        }
        Server(const Server&) = delete;
        Server& operator=(const Server&) = delete;

    private:
        pid_t pid_ = -1;
    };

    void SetUp() override {
        JoinedTest::SetUp();
        folder_ = fs::temp_directory_path() / ("weft-accel-" + std::to_string(::getpid()));
        fs::create_directories(folder_);
        fs::permissions(folder_, fs::perms::all);
    }
    void TearDown() override { fs::remove_all(folder_); }

    static bool installed(const std::string& program) {
        return ::system(("command -v " + program + " >/dev/null 2>&1").c_str()) == 0; // NOLINT(cert-env33-c)
    }
    /// What a command says in the client's namespace.
    std::string client(const std::string& line) {
        std::string out;
        world.client.run([&] {
            std::FILE* pipe = ::popen(("timeout 60 sh -c '" + line + "' 2>&1").c_str(), "re");
            char buffer[4096];
            while (pipe != nullptr && std::fgets(buffer, sizeof buffer, pipe) != nullptr) {
                out += buffer;
            }
            if (pipe != nullptr) {
                (void)::pclose(pipe); // what it said tells
            }
        });
        return out;
    }
    /// Repeats until it says `text`: a server takes a moment to listen.
    void expect_answer(const std::string& line, const std::string& text) {
        std::string answer;
        for (int tries = 0; tries < 200; ++tries) {
            answer = client(line);
            if (answer.find(text) != std::string::npos) {
                return;
            }
            (void)::poll(nullptr, 0, 100);
        }
        ADD_FAILURE() << answer;
    }
    std::uint64_t skipped_bytes() {
        const std::uint32_t index = WEFT_COUNTER_ACCEL_BYTES;
        std::vector<std::uint64_t> values(static_cast<std::size_t>(libbpf_num_possible_cpus()));
        EXPECT_EQ(bpf_map_lookup_elem(bpf_map__fd(world.bpf().maps.weft_counters), &index, values.data()), 0);
        std::uint64_t sum = 0;
        for (const auto value : values) {
            sum += value;
        }
        return sum;
    }
    [[nodiscard]] std::string folder() const { return folder_.string(); }
    void write(const std::string& name, const std::string& text) const {
        std::ofstream file(folder_ / name);
        file << text;
    }

private:
    fs::path folder_;
};

TEST_F(AccelPrograms, Redis) {
    if (!installed("redis-server")) {
        GTEST_SKIP() << "no redis-server";
    }
    const Server server(world,
                        "exec redis-server --port 6379 --protected-mode no --save \"\" --daemonize no >/dev/null");
    expect_answer("redis-cli -h 10.77.0.2 ping", "PONG");
    const auto report = client("redis-benchmark -h 10.77.0.2 -q -n 5000 -c 10 -t set,get -d 5000");
    EXPECT_NE(report.find("GET:"), std::string::npos) << report;
    EXPECT_EQ(report.find("rror"), std::string::npos) << report;
    EXPECT_GT(skipped_bytes(), 10'000'000U);
}

TEST_F(AccelPrograms, NginxAndWrk) {
    if (!installed("/usr/sbin/nginx") || !installed("wrk")) {
        GTEST_SKIP() << "no nginx or wrk";
    }
    write("nginx.conf", "daemon off; pid " + folder() +
                            "/pid; error_log stderr; worker_processes 1; user root;\n"
                            "events { worker_connections 256; }\nhttp { access_log off; client_body_temp_path " +
                            folder() + "/a; proxy_temp_path " + folder() + "/b; fastcgi_temp_path " + folder() +
                            "/c; uwsgi_temp_path " + folder() + "/d; scgi_temp_path " + folder() +
                            "/e; sendfile on; root " + folder() + ";\nserver { listen 8080; } }\n");
    write("large", pattern(1'000'000));
    const Server server(world, "exec /usr/sbin/nginx -c " + folder() + "/nginx.conf 2>/dev/null");
    expect_answer("curl -s -m 20 http://10.77.0.2:8080/large | cmp - " + folder() + "/large && echo same", "same");
    const auto report = client("wrk -t 1 -c 8 -d 2 --timeout 60 http://10.77.0.2:8080/large");
    EXPECT_NE(report.find("Requests/sec"), std::string::npos) << report;
    EXPECT_EQ(report.find("Socket errors"), std::string::npos) << report;
    EXPECT_EQ(report.find("Non-2xx"), std::string::npos) << report;
    EXPECT_GT(skipped_bytes(), 1'000'000U);
}

TEST_F(AccelPrograms, PostgresqlAndPgbench) {
    if (::system("ls -d /usr/lib/postgresql/*/bin >/dev/null 2>&1") != 0) { // NOLINT(cert-env33-c)
        GTEST_SKIP() << "no PostgreSQL";
    }
    const std::string as_user = "setpriv --reuid=postgres --regid=postgres --clear-groups ";
    const std::string bin = "$(ls -d /usr/lib/postgresql/*/bin | tail -1)/";
    const std::string data = folder() + "/db";
    world.server.shell("mkdir " + data + " && chown postgres " + data + " && cd / && " + as_user + bin + "initdb -D " +
                       data + " -U postgres -A trust --no-sync --locale=C >/dev/null && " +
                       "echo 'host all all all trust' >>" + data + "/pg_hba.conf");
    const Server server(world, "cd /; exec " + as_user + bin + "postgres -D " + data +
                                   " -k \"\" -c listen_addresses=\"*\" -c fsync=off >/dev/null 2>&1");
    const std::string at = " -h 10.77.0.2 -U postgres postgres";
    expect_answer(bin + "psql -tAc \"select 6 * 7\"" + at, "42");
    EXPECT_NE(client(bin + "psql -tAc \"select length(repeat(chr(119), 1000000)), repeat(chr(119), 1000000)\"" + at +
                     " | wc -c")
                  .find("1000009"),
              std::string::npos);
    const auto report = client(bin + "pgbench -i -q -s 1" + at + " && " + bin + "pgbench -c 8 -t 50" + at);
    EXPECT_NE(report.find("processed: 400/400"), std::string::npos) << report;
    EXPECT_GT(skipped_bytes(), 1'000'000U);
}

TEST_F(AccelPrograms, GrpcUnaryAndStreams) {
    if (!installed("/usr/bin/python3") ||
        ::system("/usr/bin/python3 -c 'import grpc' 2>/dev/null") != 0) { // NOLINT(cert-env33-c)
        GTEST_SKIP() << "no gRPC for Python";
    }
    write("server.py", R"(
import concurrent.futures, grpc
def unary(request, context): return request[::-1]
def stream(requests, context):
    for request in requests: yield request + b"!"
handler = grpc.method_handlers_generic_handler("weft.Test", {
    "Reverse": grpc.unary_unary_rpc_method_handler(unary),
    "Shout": grpc.stream_stream_rpc_method_handler(stream)})
server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((handler,))
server.add_insecure_port("10.77.0.2:50051")
server.start()
server.wait_for_termination()
)");
    write("client.py", R"(
import grpc
channel = grpc.insecure_channel("10.77.0.2:50051")
big = bytes(range(256)) * 4000
assert channel.unary_unary("/weft.Test/Reverse")(big, timeout=60) == big[::-1]
words = [b"%d" % i for i in range(5000)]
assert list(channel.stream_stream("/weft.Test/Shout")(iter(words), timeout=60)) == [w + b"!" for w in words]
print("all answered")
)");
    const Server server(world, "exec /usr/bin/python3 " + folder() + "/server.py");
    expect_answer("/usr/bin/python3 " + folder() + "/client.py", "all answered");
    // Its server allows zero-copy sending and asks for TCP_INQ, which only TCP gives.
    EXPECT_EQ(skipped_bytes(), 0U);
}

TEST_F(AccelPrograms, Iperf3BothWays) {
    if (!installed("iperf3")) {
        GTEST_SKIP() << "no iperf3";
    }
    const Server server(world, "exec iperf3 -s >/dev/null");
    expect_answer("iperf3 -c 10.77.0.2 -n 200M", "iperf Done");
    expect_answer("iperf3 -R -c 10.77.0.2 -n 200M", "iperf Done");
    EXPECT_GT(skipped_bytes(), 1'000'000U);
}

} // namespace
} // namespace weft::test
