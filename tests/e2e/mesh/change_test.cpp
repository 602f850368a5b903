// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The mesh's own changes under load: pods enter and leave it, and certificates are rotated. No request may fail.
#include <filesystem>

#include <gmock/gmock.h>

#include "tests/e2e/mesh/mesh_lab.hpp"

namespace weft::e2e {
namespace {

using ::testing::EndsWith;

class MeshChange : public MeshLab {
protected:
    static lab::Finished authority(std::vector<std::string> arguments) {
        const auto program = std::filesystem::path(weft_program()).parent_path() / "weft-ca";
        arguments.insert(arguments.begin(), {program.string(), "--dir", "/run/weft/lab/" + lab().name() + "/ca"});
        auto done = lab::run_captured({.argv = arguments}, 60000);
        return done ? *done : lab::Finished{.exit_code = -1, .output = {}, .error_output = done.error().message()};
    }
    /// A step of a rotation is refused until it is safe.
    static void rotate(const std::string& step) {
        lab::Finished last;
        EXPECT_TRUE(eventually([&] { return (last = authority({"rotate", step})).exit_code == 0; }, kPatience))
            << step << ": " << last.error_output;
    }
    /// The serial of the server's certificate, as its agent tells it.
    static std::string serial() {
        const auto status =
            weft({"--socket", "/run/weft/lab/" + lab().name() + "/nodes/node-2/admin.sock", "status"}).output;
        const auto line = status.find("/sa/api ");
        const auto at = line == std::string::npos ? line : status.find("serial ", line);
        return at == std::string::npos ? "" : status.substr(at + 7, status.find('\n', at) - at - 7);
    }
};

TEST_F(MeshChange, EnteringAndLeavingTheMeshFailsNoRequest) {
    const auto load = peer_in_background("client", {"requests", address("api"), "FILE"});
    const auto load6 = peer_in_background("client", {"requests", address("api", true), "FILE"});
    ASSERT_TRUE(load->goes_on(3) && load6->goes_on(3));
    for (int round = 0; round < 2; ++round) {
        label_namespace("disabled", 0);
        EXPECT_TRUE(load->goes_on(5) && load6->goes_on(5)) << "out, round " << round;
        label_namespace("enabled", 2);
        EXPECT_TRUE(load->goes_on(5) && load6->goes_on(5)) << "in, round " << round;
    }
    EXPECT_THAT(load->stop(), EndsWith(" 0 failed\n"));
    EXPECT_THAT(load6->stop(), EndsWith(" 0 failed\n"));
}

TEST_F(MeshChange, OutsideOfTheMeshTheWireShowsPlaintext) {
    label_namespace("disabled", 0);
    auto watcher = watch_wire();
    EXPECT_EQ(peer("client", {"mark", address("api"), "100000"}), "ok 100000\n");
    const auto seen = nlohmann::json::parse(watcher->stop(), nullptr, false);
    EXPECT_GT(seen.value("marked", 0), 0) << "the watcher sees plaintext when there is some: " << seen.dump();
    label_namespace("enabled", 2);
}

TEST_F(MeshChange, RotationOfEveryCertificateFailsNoRequest) {
    const auto load = peer_in_background("client", {"requests", address("api"), "FILE"});
    const auto transfer = peer_in_background("client", {"echo", address("api"), "FILE"});
    ASSERT_TRUE(load->goes_on(3));
    ASSERT_TRUE(transfer->goes_on());
    rotate("intermediate");
    EXPECT_TRUE(load->goes_on(3));
    const auto before = serial();
    EXPECT_NE(before, "");
    rotate("publish");
    EXPECT_TRUE(load->goes_on(3));
    rotate("switch");
    // Every leaf is replaced by one of the new root.
    EXPECT_TRUE(eventually([&] { return serial() != before && !serial().empty(); }, kPatience));
    EXPECT_TRUE(load->goes_on(3));
    rotate("retire");
    EXPECT_TRUE(load->goes_on(3));
    EXPECT_TRUE(transfer->goes_on(100000));
    EXPECT_THAT(load->stop(), EndsWith(" 0 failed\n"));
    EXPECT_THAT(transfer->stop(), ::testing::StartsWith("ok "));
}

} // namespace
} // namespace weft::e2e
