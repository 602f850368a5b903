// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Does a lab come and go without a trace, also beside others and after a crash?
#include <signal.h>

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/driver.hpp"
#include "tools/lab/cgroup.hpp"
#include "tools/lab/names.hpp"

namespace weft::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TEST(Lab, LeavesNoTrace) {
    const TestLab lab;
    lab.write("web.yaml", web_manifest("web", 2));
    lab.write("client.yaml", idle_pod("client"));
    lab.up();
    EXPECT_THAT(lab.in_pod("shop/client", "curl -s -m 5 http://web.shop/"), HasSubstr("web-"));
    // Closed: no interface of the machine's own namespace has its other end in the lab.
    const auto links = lab::run_captured({.argv = {"ip", "link"}});
    ASSERT_TRUE(links.has_value());
    EXPECT_THAT(links->output, Not(HasSubstr("weft-" + lab.name())));
    EXPECT_THAT(traces_of(lab.name()), Not(IsEmpty()));
    EXPECT_EQ(lab.run({"down"}).exit_code, 0);
    EXPECT_THAT(traces_of(lab.name()), IsEmpty());
    EXPECT_EQ(lab.run({"down"}).exit_code, 5) << "nothing is left to remove";
}

TEST(Lab, TwoRunSideBySideWithTheSameAddresses) {
    const TestLab one;
    const TestLab two;
    for (const auto* lab : {&one, &two}) {
        lab->write("web.yaml", web_manifest("web", 1));
        lab->write("client.yaml", idle_pod("client"));
        lab->up();
    }
    EXPECT_EQ(one.status()["pods"][1]["ips"], two.status()["pods"][1]["ips"]);
    EXPECT_EQ(one.in_pod("shop/client", "curl -s -m 5 http://web/"), "web-0\n");
    EXPECT_EQ(one.run({"down"}).exit_code, 0);
    EXPECT_THAT(traces_of(one.name()), IsEmpty());
    EXPECT_EQ(two.in_pod("shop/client", "curl -s -m 5 http://web/"), "web-0\n");
}

TEST(Lab, ComesUpAgainAfterItsSupervisorWasKilled) {
    const TestLab lab;
    lab.write("web.yaml", web_manifest("web", 1));
    lab.up();
    const auto names = *lab::Names::make(lab.name());
    std::ifstream procs(*lab::cgroup_path(names.supervisor_cgroup()) + "/cgroup.procs");
    pid_t supervisor = 0;
    ASSERT_TRUE(procs >> supervisor);
    ASSERT_EQ(::kill(supervisor, SIGKILL), 0);
    ASSERT_TRUE(eventually([&] { return lab.status().is_null(); }));
    EXPECT_THAT(lab.run({"status"}).error_output, HasSubstr("does not run"));
    lab.up();
    EXPECT_EQ(lab.status()["pods"][0]["ready"], true);
    EXPECT_EQ(lab.run({"down"}).exit_code, 0);
    EXPECT_THAT(traces_of(lab.name()), IsEmpty());
}

TEST(Lab, RefusesBadManifestsByNameAndStartsNothing) {
    const TestLab lab;
    const auto file =
        lab.write("bad.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 70000}]}\n");
    const auto done = lab.run({"up", lab.folder()});
    EXPECT_EQ(done.exit_code, 1);
    EXPECT_THAT(done.error_output, HasSubstr(file + ":"));
    EXPECT_THAT(done.error_output, HasSubstr("Service default/web"));
    EXPECT_THAT(traces_of(lab.name()), IsEmpty());
}

TEST(Lab, RestartsAKilledContainerAndPassesExitCodes) {
    const TestLab lab;
    lab.write("client.yaml", idle_pod("client"));
    lab.up({"--nodes", "1"});
    EXPECT_EQ(lab.run({"exec", "shop/client", "--", "sh", "-c", "exit 7"}).exit_code, 7);
    EXPECT_EQ(lab.run({"exec", "shop/client", "--", "cat"}, "through stdin").output, "through stdin");
    EXPECT_EQ(lab.run({"kill", "shop/client"}).exit_code, 0);
    EXPECT_TRUE(eventually([&] {
        const auto pod = lab.status()["pods"][0];
        return pod["restarts"] == 1 && pod["ready"] == true;
    }));
}

} // namespace
} // namespace weft::e2e
