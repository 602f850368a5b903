// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What an administrator may write, and what a mistake is called.
#include "agent/identity/options.hpp"

#include <gtest/gtest.h>

#include "tests/unit/ca/world.hpp"

namespace weft::identity {
namespace {

std::string fault(const Options& options) {
    const auto checked = check_options(options);
    return checked ? "" : checked.error().message();
}

TEST(IdentityOptions, SayWhichKeyIsWrong) {
    Options options;
    EXPECT_EQ(fault(options), "");
    options.source = "vault";
    EXPECT_NE(fault(options).find("identity_source"), std::string::npos);
    options.source = "weft-ca";
    EXPECT_NE(fault(options).find("identity_ca_address"), std::string::npos);
    options.ca_address = "127.0.0.1:8443";
    EXPECT_NE(fault(options).find("identity_state_dir"), std::string::npos);
    options.state_dir = "/nowhere";
    EXPECT_EQ(fault(options), "");
    options.federation = {"bank.example"};
    EXPECT_NE(fault(options).find("DOMAIN=LOCATION"), std::string::npos);
    options = {};
    options.source = "files";
    EXPECT_NE(fault(options).find("identity_files_dir"), std::string::npos);
}

TEST(IdentityOptions, FederationIsTakenApart) {
    const auto plain = parse_federated("bank.example=https://bank.example/a,b");
    ASSERT_TRUE(plain.has_value());
    EXPECT_EQ(plain->location, "https://bank.example/a,b");
    EXPECT_EQ(plain->ca_file, "");
    const auto with_ca = parse_federated("bank.example=https://bank.example/x,/etc/ca.pem");
    ASSERT_TRUE(with_ca.has_value());
    EXPECT_EQ(with_ca->location, "https://bank.example/x");
    EXPECT_EQ(with_ca->ca_file, "/etc/ca.pem");
}

TEST(IdentityOptions, MakeAKeeper) {
    const ca::test::TemporaryFolder files;
    Options options;
    EXPECT_EQ(open_keeper(options, "n1")->get(), nullptr) << "no source, no keeper";
    options.source = "files";
    options.files_dir = files.path();
    const auto keeper = open_keeper(options, "n1");
    ASSERT_TRUE(keeper.has_value()) << keeper.error().message();
    EXPECT_NE(keeper->get(), nullptr);
}

} // namespace
} // namespace weft::identity
