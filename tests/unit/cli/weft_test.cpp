// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The real `weft` program against a real AdminServer on a socket of its own: output and exit codes as a user sees them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "agent/admin/server.hpp"
#include "agent/telemetry/enrich.hpp"
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
    EXPECT_THAT(weft("conn list -o wide").out, HasSubstr("allow (stale)   pay/api:http   10.96.0.1:80"));
}

TEST_F(Weft, DocumentsCarryEveryField) {
    EXPECT_THAT(weft("service list -o json").out, HasSubstr("\"affinity_seconds\": 0"));
    EXPECT_THAT(weft("service list -o yaml").out, HasSubstr("services:\n- id: "));
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
    EXPECT_EQ(weft("flows --from-pod shop/other").out, "");
    EXPECT_THAT(weft("flows -n pay --port 8080 --last 1 -o jsonpb").out,
                HasSubstr("\"drop_reason_desc\":\"POLICY_DENIED\""));
    EXPECT_EQ(weft("flows --from-ip nonsense").code, cli::kUsage);
}

TEST_F(Weft, ExitCodesTellWhatIsWrong) {
    EXPECT_EQ(weft("").code, cli::kUsage);
    EXPECT_EQ(weft("nonsense").code, cli::kUsage);
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
