// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Does every count agree? A load that counts its own connections against metrics, flows and an OTLP receiver: opened is
// closed plus open, and of all that was to be told, delivered and lost are together what was produced.
// WEFT_ACCOUNTING_SECONDS sets how long the load lasts (5).
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <optional>
#include <regex>
#include <sstream>
#include <utility>

#include <gtest/gtest.h>

#include "tests/e2e/driver.hpp"
#include "tests/support/otlp/receiver.hpp"
#include "tools/lab/names.hpp"

namespace weft::e2e {
namespace {

constexpr std::uint64_t kHeld = 7, kBytes = 10;
constexpr int kRate = 5000; ///< connections a second that are aimed at; a busy machine makes fewer

/// Pod "server" answers nothing on TCP 8080 and echoes on UDP 5353; pod "client" does nothing by itself.
constexpr const char* kPods = R"(apiVersion: v1
kind: Pod
metadata: {name: server, namespace: shop, labels: {app: server}}
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    command: [python3, -u, -c]
    args:
    - |
      import selectors, socket, threading
      def echo():
          udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
          udp.bind(("", 5353))
          while True:
              data, sender = udp.recvfrom(2048)
              udp.sendto(data + data, sender)
      threading.Thread(target=echo, daemon=True).start()
      listener = socket.create_server(("", 8080), backlog=4096)
      listener.setblocking(False)
      ready = selectors.DefaultSelector()
      ready.register(listener, selectors.EVENT_READ)
      while True:
          for key, _ in ready.select():
              try:
                  if key.fileobj is listener:
                      connection, _ = listener.accept()
                      connection.setblocking(False)
                      ready.register(connection, selectors.EVENT_READ)
                  elif not key.fileobj.recv(64):
                      ready.unregister(key.fileobj)
                      key.fileobj.close()
              except BlockingIOError:
                  pass
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {nodeName: node-1, containers: [{name: main}]}
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: shop}
spec:
  selector: {app: server}
  ports: [{name: web, port: 80, targetPort: 8080}, {name: dns, port: 53, targetPort: 5353, protocol: UDP}]
)";

/// SECONDS RATE HELD FILE: connections at that rate, each of ten bytes; then so many are held until FILE is there.
/// Prints how many were made, once they are.
constexpr const char* kLoad = R"(
import os, socket, sys, time
seconds, rate, held, stop = float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
server = (socket.gethostbyname("server"), 80)
def one():
    connection = socket.create_connection(server, 20)
    connection.sendall(b"0123456789")
    return connection
begin = time.monotonic()
count = 0
while time.monotonic() - begin < seconds:
    if count > rate * (time.monotonic() - begin):
        time.sleep(0.001)
        continue
    with one() as connection:
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
    count += 1
kept = [one() for _ in range(held)]
with open(stop + ".count", "w") as report:
    report.write(f"{count + held} {time.monotonic() - begin:.1f}\n")
os.rename(stop + ".count", stop + ".made")
patience = time.monotonic() + 60
while not os.path.exists(stop) and time.monotonic() < patience:
    time.sleep(0.05)
for connection in kept:
    connection.shutdown(socket.SHUT_WR)
    connection.recv(1)
)";

/// COUNT sockets, half of them connected, send three datagrams of 100 bytes each and read the answers of 200.
constexpr const char* kDatagrams = R"(
import socket, sys
server = (socket.gethostbyname("server"), 53)
for number in range(int(sys.argv[1])):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(10)
        if number % 2:
            one.connect(server)
        for _ in range(3):
            one.send(b"x" * 100) if number % 2 else one.sendto(b"x" * 100, server)
            assert len(one.recv(4096)) == 200
print("done")
)";

/// One look at /metrics. It is a connection of the node's own to its agent, so it is counted there: accepted before the
/// page is made, closed after.
struct Page {
    int number = 0; ///< 1 for the first look
    std::map<std::string, double> values; ///< by metric and its labels

    /// Over the series of one metric whose labels contain `part`.
    [[nodiscard]] double sum(const std::string& name, const std::string& part = "") const {
        double out = 0;
        for (const auto& [key, value] : values) {
            if ((key == name || key.starts_with(name + "{")) && key.find(part) != std::string::npos) {
                out += value;
            }
        }
        return out;
    }
};

/// A client that follows all flows of the node, and what it was told.
class Follower {
public:
    explicit Follower(const TestLab& lab) : file_(lab.folder() + "/followed") {
        auto child = lab::launch({.argv = {weft_program(), "--socket",
                                           "/run/weft/lab/" + lab.name() + "/nodes/node-1/admin.sock", "flows", "-f"},
                                  .log_file = file_});
        EXPECT_TRUE(child.has_value());
        pid_ = child->pid;
    }
    ~Follower() {
        (void)::kill(pid_, SIGKILL);
        (void)::waitpid(pid_, nullptr, 0);
    }
    Follower(const Follower&) = delete;
    Follower& operator=(const Follower&) = delete;

    struct Told {
        double flows = 0, lost = 0;
    };
    /// Lines so far: a flow each, or "weft: N flows lost: ...".
    [[nodiscard]] Told told() const {
        Told out;
        std::ifstream lines(file_);
        for (std::string line; std::getline(lines, line);) {
            if (line.starts_with("weft: ")) {
                out.lost += std::strtod(line.c_str() + std::string_view("weft: ").size(), nullptr);
            } else {
                ++out.flows;
            }
        }
        return out;
    }
    [[nodiscard]] std::string text() const {
        std::ostringstream out;
        out << std::ifstream(file_).rdbuf();
        return out.str();
    }

private:
    std::string file_;
    pid_t pid_ = -1;
};

/// A file that the test and a pod agree on, and its companion; both are removed.
struct SharedFile {
    explicit SharedFile(std::string name) : path(std::move(name)) {}
    ~SharedFile() {
        std::error_code error;
        std::filesystem::remove(path, error);
        std::filesystem::remove(path + ".made", error);
    }
    SharedFile(const SharedFile&) = delete;
    SharedFile& operator=(const SharedFile&) = delete;
    std::string path;
};

class Accounting : public ::testing::Test {
protected:
    Accounting() {
        // The lab's agents have this program's environment. The node's own connections are our looks at the metrics.
        ::setenv("WEFT_UDP_FLOW_TIMEOUT", "2", 1);
        ::setenv("WEFT_OTLP_ENDPOINT", ("unix://" + socket()).c_str(), 1);
        ::setenv("WEFT_OTLP_SAMPLING", "shop=100 *=0", 1);
        lab.write("pods.yaml", kPods);
        lab.up({"--nodes", "1"});
        netns = lab::netns_path(lab::Names::make(lab.name())->node_netns("node-1"));
        follower.emplace(lab);
    }
    ~Accounting() override {
        ::unsetenv("WEFT_UDP_FLOW_TIMEOUT");
        ::unsetenv("WEFT_OTLP_ENDPOINT");
        ::unsetenv("WEFT_OTLP_SAMPLING");
    }
    [[nodiscard]] std::string socket() const { return lab.folder() + "/otlp.sock"; }
    Page scrape() {
        Page out;
        out.number = ++scrapes;
        const auto got =
            lab::run_captured({.argv = {"curl", "-s", "-m", "20", "http://127.0.0.1:9964/metrics"}, .netns = netns});
        std::istringstream lines(got ? got->output : "");
        for (std::string line; std::getline(lines, line);) {
            if (const auto space = line.rfind(' '); !line.starts_with("#") && space != std::string::npos) {
                out.values[line.substr(0, space)] = std::strtod(line.c_str() + space, nullptr);
            }
        }
        return out;
    }
    /// Nothing happens between two looks but that the first one ends and the second begins, and nothing waits for the
    /// receiver; then the follower has been told all of it.
    Page quiet() {
        Page last = scrape();
        EXPECT_TRUE(eventually(
            [&] {
                auto now = scrape();
                const auto grown = now.sum("weft_events_total") - last.sum("weft_events_total");
                const bool same = grown == 2 && now.sum("weft_otlp_waiting_records") == 0;
                last = std::move(now);
                return same;
            },
            60))
            << last.sum("weft_events_total");
        double told = -1;
        EXPECT_TRUE(eventually([&] {
            (void)::poll(nullptr, 0, 500);
            const auto before = std::exchange(told, follower->told().flows);
            return before == told;
        }));
        return last;
    }

    TestLab lab;
    std::string netns;
    int scrapes = 0;
    test::OtlpReceiver receiver{"unix:" + socket()};
    std::optional<Follower> follower;
};

TEST_F(Accounting, EveryConnectionAndEveryEventIsAccountedFor) {
    const char* wish = std::getenv("WEFT_ACCOUNTING_SECONDS");
    const std::string seconds = wish == nullptr ? "5" : wish;
    const auto before = quiet();
    const auto told_before = follower->told();
    const SharedFile stop("/var/tmp/weft-accounting-" + lab.name()); // pods have a /tmp of their own
    const auto client = std::async(std::launch::async, [&] {
        return lab.run({"exec", "shop/client", "--", "python3", "-c", kLoad, seconds, std::to_string(kRate),
                        std::to_string(kHeld), stop.path},
                       "", 300000);
    });
    ASSERT_TRUE(eventually([&] { return std::filesystem::exists(stop.path + ".made"); }, 200));
    double made = 0, took = 0;
    std::ifstream(stop.path + ".made") >> made >> took;
    ASSERT_GT(made, 100);
    RecordProperty("connections_a_second", fmt::format("{:.0f}", made / took));

    const auto grown = [&](const Page& now, const std::string& name, const std::string& part = "") {
        return now.sum(name, part) - before.sum(name, part);
    };
    const auto looks = [&](const Page& now) { return now.number - before.number; };
    const auto held = quiet();
    EXPECT_EQ(grown(held, "weft_connections_opened_total", "\"egress\""), made) << "as the load counts";
    EXPECT_EQ(grown(held, "weft_connections_opened_total", "\"ingress\""), made + looks(held));
    EXPECT_EQ(grown(held, "weft_connections_closed_total"), 2 * (made - kHeld) + looks(held))
        << "opened = closed + open";
    for (const auto* reporter : {"reporter=\"source\"", "reporter=\"destination\""}) {
        EXPECT_EQ(grown(held, "istio_tcp_connections_opened_total", reporter), made) << reporter;
        EXPECT_EQ(grown(held, "istio_tcp_connections_closed_total", reporter), made - kHeld) << reporter;
        EXPECT_EQ(grown(held, "istio_tcp_received_bytes_total", reporter), kBytes * (made - kHeld)) << reporter;
    }
    std::ofstream(stop.path).flush();
    const auto ended = [&] {
        const auto now = scrape();
        return grown(now, "weft_connections_closed_total") >= 2 * made + looks(now);
    };
    ASSERT_TRUE(eventually(ended, 60));
    const auto after = quiet();
    EXPECT_EQ(grown(after, "weft_connections_closed_total"), 2 * made + looks(after));
    EXPECT_EQ(grown(after, "istio_tcp_connections_closed_total"), 2 * made);
    EXPECT_EQ(grown(after, "istio_tcp_received_bytes_total"), 2 * kBytes * made);

    // Events: what a client was told, and told to be lost.
    const auto produced = grown(after, "weft_events_total");
    EXPECT_EQ(produced, 4 * made + 2 * looks(after));
    const auto told = follower->told();
    EXPECT_EQ(told.flows + told.lost - told_before.flows - told_before.lost, produced)
        << told.flows - told_before.flows << " flows and " << told.lost - told_before.lost << " lost";
    RecordProperty("events_lost", fmt::format("{:.0f}", told.lost));

    // Records: one of each signal for each end that the agent was told of.
    const auto ring_lost = grown(after, "weft_events_lost_total", "kernel-ring");
    for (const std::string signal : {"logs", "spans"}) {
        const auto all = [&](const std::string& result) {
            return grown(after, "weft_otlp_records_total", "signal=\"" + signal + "\",result=\"" + result);
        };
        EXPECT_LE(all("delivered") + all("lost-"), 2 * made) << signal;
        EXPECT_GE(all("delivered") + all("lost-") + ring_lost, 2 * made) << signal;
        const auto received = signal == "logs" ? receiver.logs().size() : receiver.spans().size();
        EXPECT_EQ(static_cast<double>(received),
                  after.sum("weft_otlp_records_total{signal=\"" + signal + "\",result=\"delivered\"}"));
        RecordProperty(signal + "_lost", fmt::format("{:.0f}", all("lost-")));
    }
}

TEST_F(Accounting, UdpFlowsAreToldFromBeginToEnd) {
    const auto before = quiet();
    constexpr int kSockets = 20;
    const auto done = lab.run({"exec", "shop/client", "--", "python3", "-c", kDatagrams, std::to_string(kSockets)});
    ASSERT_EQ(done.exit_code, 0) << done.output << done.error_output;
    const auto other = before.sum("weft_udp_flows_closed_total");
    ASSERT_TRUE(eventually([&] { return scrape().sum("weft_udp_flows_closed_total") >= other + 2 * kSockets; }, 30));
    const auto after = quiet();
    const auto grown = [&](const std::string& name, const std::string& part = "") {
        return after.sum(name, part) - before.sum(name, part);
    };
    EXPECT_EQ(grown("weft_udp_flows_opened_total", "\"egress\""), kSockets);
    EXPECT_EQ(grown("weft_udp_flows_opened_total", "\"ingress\""), kSockets);
    EXPECT_EQ(grown("weft_udp_flows_closed_total"), 2 * kSockets);
    EXPECT_EQ(grown("weft_udp_bytes_total", "\"sent\""), kSockets * 900) << "300 of the client, 600 of the server";
    EXPECT_EQ(grown("weft_udp_bytes_total", "\"received\""), kSockets * 900);
    EXPECT_EQ(grown("weft_udp_datagrams_total", "\"sent\""), kSockets * 6);
    const auto text = follower->text();
    int ended = 0;
    for (auto at = text.find(" UDP ENDED "); at != std::string::npos; at = text.find(" UDP ENDED ", at + 1)) {
        ++ended;
    }
    EXPECT_EQ(ended, 2 * kSockets) << text;
    EXPECT_TRUE(std::regex_search(
        text, std::regex("shop/client:[0-9]+ [^ ]+ shop/server:5353 UDP ENDED .*packets=3/3.* via shop/svc:server")))
        << text;
    int spans = 0;
    for (const auto& span : receiver.spans()) {
        if (span.attributes.at("network.transport") == "udp" && span.attributes.at("weft.reporter") == "source") {
            ++spans;
            EXPECT_EQ(span.fields.at("name"), "udp shop/server:dns");
            EXPECT_EQ(span.attributes.at("weft.packets_sent"), "3");
            EXPECT_EQ(span.attributes.at("weft.bytes_sent"), "300");
            EXPECT_EQ(span.attributes.at("weft.bytes_received"), "600");
        }
    }
    EXPECT_EQ(spans, kSockets);
}

} // namespace
} // namespace weft::e2e
