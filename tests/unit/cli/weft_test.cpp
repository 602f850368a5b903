// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The real `weft` program against a real AdminServer on a socket of its own: output and exit codes as a user sees them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <future>
#include <thread>

#include "agent/admin/server.hpp"
#include "agent/telemetry/enrich.hpp"
#include "agent/telemetry/trace_event.hpp"
#include "flow/flow.pb.h"
#include "tests/unit/admin/world.hpp"
#include "tools/weft/command.hpp"
#include "tools/weft/globals.hpp"

namespace weft {
namespace {

using namespace admin_test;
using testing::HasSubstr;

struct Ran {
    int code = -1;
    std::string out; ///< stdout and stderr
};

class Weft : public testing::Test {
protected:
    void SetUp() override {
        char name[] = "/tmp/weft-cli-XXXXXX";
        ASSERT_NE(::mkdtemp(name), nullptr);
        dir = name;
        auto started = admin::AdminServer::start({.socket_path = socket(), .group = ""}, view, ring);
        ASSERT_TRUE(started.has_value()) << started.error().message();
        server = std::make_unique<admin::AdminServer>(std::move(*started));
    }
    void TearDown() override {
        server.reset();
        std::filesystem::remove_all(dir);
    }
    std::string socket() const { return dir + "/admin.sock"; }

    Ran weft(const std::string& arguments) const {
        const auto program =
            std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "bin" / "weft";
        const auto command = program.string() + " --socket " + socket() + " " + arguments + " 2>&1";
        std::FILE* pipe = ::popen(command.c_str(), "re");
        Ran ran;
        std::array<char, 4096> buffer{};
        while (const auto size = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
            ran.out.append(buffer.data(), size);
        }
        const int status = ::pclose(pipe);
        ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        return ran;
    }
    void add_flow(const weft_event& event) {
        const auto desired = view.desired();
        ring.append(telemetry::enrich(event, {.desired = desired.get(),
                                              .node_name = "node-a",
                                              .trust_domain = "cluster.local",
                                              .policy_revision = 5,
                                              .wall_offset_ns = telemetry::wall_clock_offset_ns(),
                                              .boot_id = 1}));
    }

    FixedView view;
    telemetry::FlowRing ring;
    std::string dir;
    std::unique_ptr<admin::AdminServer> server;
};

TEST_F(Weft, StatusSaysOkOrNamesTheProblem) {
    const auto good = weft("status");
    EXPECT_EQ(good.code, cli::kOk) << good.out;
    EXPECT_THAT(good.out, HasSubstr("node-a"));
    EXPECT_THAT(good.out, HasSubstr("12 opened"));
    view.degraded = true;
    const auto bad = weft("status");
    EXPECT_EQ(bad.code, cli::kDegraded);
    EXPECT_THAT(bad.out, HasSubstr("bad.yaml:12: Service pay/bad: spec.ports[0].port: must be 1-65535"));
}

TEST_F(Weft, ListsAreTables) {
    const auto services = weft("service list");
    EXPECT_EQ(services.out, "NAMESPACE   NAME   PORT   PROTOCOL   FRONTENDS      BACKENDS   ALGORITHM\n"
                            "pay         api    http   TCP        10.96.0.1:80   1/1        random\n");
    EXPECT_THAT(weft("service list -n shop").out, HasSubstr("No services found."));
    EXPECT_THAT(weft("endpoint list --no-headers").out,
                HasSubstr("pay    api-0   10.0.0.2   governed   ingress   pay/allow-web"));
    EXPECT_THAT(weft("policy list -o wide").out, HasSubstr("pay/api-0   pay.yaml:3"));
    EXPECT_THAT(weft("identity list").out, HasSubstr("app=web"));
    EXPECT_THAT(weft("map list").out, HasSubstr("weft_service   hash   1         4          25%    agent    2"));
    EXPECT_THAT(
        weft("conn list -o wide").out,
        HasSubstr("allow (stale)   <none>   <none>   2.0KiB   5B         <none>   pay/api:http   10.96.0.1:80"));
    EXPECT_THAT(weft("certificate list").out, HasSubstr("No certificates found."));
}

TEST_F(Weft, DocumentsCarryEveryField) {
    EXPECT_THAT(weft("service list -o json").out, HasSubstr("\"affinity_seconds\": 0"));
    EXPECT_THAT(weft("service list -o yaml").out, HasSubstr("services:\n- id: "));
}

TEST_F(Weft, CertificatesAreListedWithTheirExpiry) {
    view.meshed = true;
    const auto narrow = weft("certificate list");
    EXPECT_EQ(narrow.code, cli::kOk);
    EXPECT_EQ(
        narrow.out,
        "SPIFFE-ID                                STATE     SERIAL   EXPIRES                LEFT     SOURCE\n"
        "spiffe://cluster.local/ns/shop/sa/web    valid     0A1B     2023-11-15T22:13:20Z   2h5m     weft-ca ca:8443\n"
        "spiffe://cluster.local/ns/pay/sa/api     expired   0C2D     2020-09-14T12:26:40Z   0s       weft-ca ca:8443\n"
        "spiffe://cluster.local/ns/shop/sa/web2   pending   <none>   <none>                 <none>   <none>\n");
    EXPECT_THAT(weft("cert ls -o wide").out, HasSubstr("2020-09-13T12:26:40Z   weft-ca does not answer"));
    const auto both = weft("identity list");
    EXPECT_THAT(both.out, HasSubstr(narrow.out));
    EXPECT_THAT(both.out, HasSubstr("app=web"));
    EXPECT_THAT(weft("identity list -o json").out, HasSubstr("\"expires\": \"2023-11-15T22:13:20Z\""));
    EXPECT_THAT(weft("status").out, HasSubstr("certificate of " + kApiId + " is expired: weft-ca does not answer"));
    EXPECT_THAT(weft("status").out, HasSubstr("2 failed, 4 revoked"));
}

TEST_F(Weft, ConnectionsByMutualTlsSayWhoTheyAre) {
    view.meshed = true;
    const auto wide = weft("conn list -o wide").out;
    EXPECT_THAT(wide, HasSubstr("pay/api-0   ESTAB   allow (stale)   relay   <none>   2.0KiB   5B"));
    EXPECT_THAT(wide, HasSubstr("yes       TLS_AES_128_GCM_SHA256   " + kWebId + "   " + kApiId));
    const auto json = weft("conn list -o json").out;
    for (const auto* field : {"\"bytes_sent\": \"2048\"", "\"resumed\": true", "\"peer_serial\": \"0C2D\"",
                              "\"key_exchange\": \"x25519\"", "\"security\": \"mutual_tls\""}) {
        EXPECT_THAT(json, HasSubstr(field));
    }
}

TEST_F(Weft, TraceTellsAConnectionsLife) {
    auto ran = std::async(std::launch::async, [&] { return weft("conn trace shop/web-1 --timeout 30s"); });
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!view.traces.active() && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::yield();
    }
    // Opened means listed, too: until then the trace may not have it. So tell it again until it ends.
    while (ran.wait_for(std::chrono::milliseconds(50)) != std::future_status::ready) {
        timespec now{};
        ::clock_gettime(CLOCK_MONOTONIC, &now);
        const auto now_ns =
            static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
        auto connect = event(WEFT_EVENT_CONNECT, WEFT_EGRESS);
        connect.time_ns = now_ns + 2'000'000;
        connect.duration_ns = 1'500'000;
        auto close = event(WEFT_EVENT_CLOSE, WEFT_EGRESS);
        close.time_ns = now_ns + 5'000'000;
        close.bytes_sent = 12;
        close.flags = WEFT_EVENT_LOCAL_END;
        for (const auto& one : {close, connect}) {
            for (const auto& step : telemetry::trace_steps(one, "pay/allow-web egress[0]", "")) {
                view.traces.report(step);
            }
        }
        ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    }
    const auto done = ran.get();
    EXPECT_EQ(done.code, cli::kOk) << done.out;
    EXPECT_THAT(done.out, HasSubstr("weft: waiting for the next connection of shop/web-1 on node node-a\n"));
    EXPECT_THAT(done.out, HasSubstr("Connection 1: client 10.0.0.1:41022 → 10.0.0.2:8080 (pay/api-0), 20"));
    EXPECT_THAT(done.out, HasSubstr("  1     +0.000ms  kernel      connect                10.0.0.2:8080, allowed by "
                                    "pay/allow-web egress[0]\n"
                                    "  1     +1.500ms  kernel      established            with the peer\n"));
    EXPECT_THAT(done.out, HasSubstr("closed                 closed by the workload; 12 bytes sent, 0 received\n"));
    EXPECT_FALSE(view.traces.active()) << "nobody listens any more";
}

TEST_F(Weft, TraceSaysWhyItTellsNothing) {
    const auto nobody = weft("conn trace shop/nobody");
    EXPECT_EQ(nobody.code, cli::kNotFound);
    EXPECT_THAT(nobody.out, HasSubstr("pod shop/nobody is not on this node"));
    const auto silent = weft("conn trace shop/web-1 --timeout 0.2");
    EXPECT_EQ(silent.code, cli::kFailed);
    EXPECT_THAT(silent.out, HasSubstr("0 of 1 connections were seen"));
    EXPECT_EQ(weft("conn trace web-1").code, cli::kUsage);
    view.traces.set_arm(
        [](bool on) -> Result<> { return on ? failure(EOPNOTSUPP, "flow_events is off") : Result<>(); });
    EXPECT_THAT(weft("conn trace shop/web-1").out, HasSubstr("flow_events is off"));
}

TEST_F(Weft, DumpsMapsWithNames) {
    const auto dump = weft("map dump service");
    EXPECT_EQ(dump.code, cli::kOk);
    EXPECT_THAT(dump.out, HasSubstr("TCP 10.96.0.1:80   service=pay/api:http"));
    EXPECT_EQ(weft("map dump nothing").code, cli::kNotFound);
    EXPECT_EQ(weft("map dump events").code, cli::kFailed);
}

TEST_F(Weft, FlowsReadAsSentencesAndAreFiltered) {
    auto connect = event(WEFT_EVENT_CONNECT, WEFT_EGRESS);
    connect.duration_ns = 3'200'000;
    connect.service = kService;
    add_flow(connect);
    auto denied = event(WEFT_EVENT_DENIED, WEFT_INGRESS);
    denied.reason = WEFT_REASON_POLICY_DENIED;
    add_flow(denied);
    const auto all = weft("flows");
    EXPECT_THAT(all.out,
                HasSubstr("shop/web-1:41022 \u2192 pay/api-0:8080 TCP ALLOWED 3.2ms via pay/svc:api port http\n"));
    EXPECT_THAT(all.out, HasSubstr("TCP DENIED policy-denied ingress isolated by pay/allow-web\n"));
    EXPECT_THAT(weft("flows --verdict denied").out, testing::Not(HasSubstr("ALLOWED")));
    EXPECT_THAT(weft("flows --reason policy-denied").out,
                testing::AllOf(HasSubstr("DENIED"), testing::Not(HasSubstr("ALLOWED"))));
    EXPECT_EQ(weft("flows --reason no-backend").out, "");
    EXPECT_THAT(weft("flows --identity 1000000000000011").out, HasSubstr("ALLOWED"));
    EXPECT_THAT(weft("flows --identity 0x11").out, HasSubstr("ALLOWED"));
    EXPECT_THAT(weft("flows --identity 17").out, HasSubstr("ALLOWED"));
    EXPECT_EQ(weft("flows --identity 11").out, "");
    EXPECT_EQ(weft("flows --identity shop").code, cli::kUsage);
    const auto unknown = weft("flows --reason policy-denid");
    EXPECT_EQ(unknown.code, cli::kUsage);
    EXPECT_THAT(unknown.out, testing::AllOf(HasSubstr("no flow has 'policy-denid'"), HasSubstr(", policy-denied,"),
                                            HasSubstr("identity-refused"), HasSubstr("too-many-handshakes")));
    EXPECT_THAT(unknown.out, testing::Not(HasSubstr("traffic-other"))) << "after that traffic goes on";
    EXPECT_EQ(weft("flows --reason expired").code, cli::kOk);
    EXPECT_EQ(weft("flows --from-pod shop/other").out, "");
    EXPECT_THAT(weft("flows -n pay --port 8080 --last 1 -o jsonpb").out,
                HasSubstr("\"drop_reason_desc\":\"POLICY_DENIED\""));
    EXPECT_EQ(weft("flows --from-ip nonsense").code, cli::kUsage);
}

TEST_F(Weft, FlowsTellMutualTlsRuleAndWhoEndedIt) {
    auto connect = event(WEFT_EVENT_CONNECT, WEFT_INGRESS);
    connect.kind = WEFT_EVENT_ACCEPT;
    connect.duration_ns = 3'200'000;
    connect.flags = WEFT_EVENT_MUTUAL_TLS;
    connect.rule = kRule;
    add_flow(connect);
    auto close = event(WEFT_EVENT_CLOSE, WEFT_EGRESS);
    close.duration_ns = 90'000'000;
    close.bytes_sent = 12;
    close.srtt_us = 250;
    close.flags = WEFT_EVENT_LOCAL_END;
    add_flow(close);
    const auto all = weft("flows").out;
    EXPECT_THAT(all, testing::ContainsRegex("[A-Z][a-z][a-z] [0-9 ]+[0-9:]+ shop/web-1:41022 \u2192 pay/api-0:8080 TCP "
                                            "mtls ACCEPTED 3.2ms rule=pay/allow-web ingress.0.\n"));
    EXPECT_THAT(all, HasSubstr("TCP CLOSED 90.0ms sent=12B received=0B by=source rtt=250us\n"));
    EXPECT_THAT(weft("flows --identity spiffe://cluster.local/ns/pay/sa/default").out, HasSubstr("mtls"));
}

TEST_F(Weft, ExitCodesTellWhatIsWrong) {
    EXPECT_EQ(weft("").code, cli::kUsage);
    EXPECT_EQ(weft("nonsense").code, cli::kUsage);
    EXPECT_THAT(weft("nonsense").out, HasSubstr("unknown command or argument 'nonsense'"));
    EXPECT_THAT(weft("conn trace --nope").out,
                AllOf(HasSubstr("unknown option '--nope'"), HasSubstr("conn trace --help")));
    EXPECT_THAT(weft("flows --last x").out, HasSubstr("--last = x"));
    EXPECT_EQ(weft("--help").code, cli::kOk);
    server->stop();
    const auto ran = weft("status");
    EXPECT_EQ(ran.code, cli::kNoAgent);
    EXPECT_THAT(ran.out, HasSubstr("systemctl"));
    EXPECT_EQ(weft("version").code, cli::kOk);
}

TEST_F(Weft, AnotherServerIsRefusedAndAStaleSocketReplaced) {
    EXPECT_FALSE(admin::AdminServer::start({.socket_path = socket(), .group = ""}, view, ring).has_value());
    EXPECT_EQ(weft("status").code, cli::kOk);
    EXPECT_EQ(std::filesystem::status(socket()).permissions(), std::filesystem::perms(0660));
}

TEST_F(Weft, OnlyRootAndTheGroupMayAsk) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "needs root to become somebody else";
    }
    const auto as_nobody = [&](const std::string& what) {
        const auto program =
            std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "bin" / "weft";
        const auto copy = dir + "/weft"; // the build folder may be closed to others
        std::filesystem::copy_file(program, copy, std::filesystem::copy_options::overwrite_existing);
        const auto command = "setpriv --reuid 65534 --regid 65534 --clear-groups " + copy + " --socket " + socket() +
                             " " + what + " >/dev/null 2>&1";
        const int status = std::system(command.c_str());
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    };
    std::filesystem::permissions(dir, std::filesystem::perms(0755));
    EXPECT_EQ(as_nobody("status"), cli::kNoPermission);
    // With a mode that lets everybody connect, the credentials still decide.
    std::filesystem::permissions(socket(), std::filesystem::perms(0666));
    EXPECT_EQ(as_nobody("status"), cli::kNoPermission);
    EXPECT_EQ(weft("status").code, cli::kOk);
}

TEST(Watch, FindsRowsThatAreNewOrChangedWhateverTheirPadding) {
    const std::string before = "NAME  READY\nweb   1/2\napi   2/2\n";
    EXPECT_EQ(cli::changed_rows(before, before), "");
    EXPECT_EQ(cli::changed_rows(before, "NAME         READY\nweb          2/2\napi          2/2\nnewcomer-1   1/1\n"),
              "web          2/2\nnewcomer-1   1/1\n");
    EXPECT_EQ(cli::changed_rows(before, "NAME  READY\napi   2/2\n"), "") << "gone";
    EXPECT_EQ(cli::changed_rows("a 1\n", "a 1\na 1\n"), "a 1\n") << "twice is not once";
    EXPECT_EQ(cli::changed_rows("", "a 1\n"), "a 1\n");
}

TEST_F(Weft, CompletionKnowsTheCommands) {
    EXPECT_THAT(weft("completion bash").out, HasSubstr("[\"weft map\"]=\"--help dump list\""));
}

} // namespace
} // namespace weft
