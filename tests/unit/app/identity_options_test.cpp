// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Options about identities that do not fit together: each error says where the wrong one stands, and what to do.
#include "agent/app/options.hpp"

#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>

namespace weft::app {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kDigits(64, 'a');

class IdentityOptionsTest : public ::testing::Test {
protected:
    std::string file = "/tmp/weft-identity-options-" + std::to_string(::getpid()) + ".yaml";
    void TearDown() override { ::unlink(file.c_str()); }
    [[nodiscard]] Result<Invocation> parsed(const std::string& text, std::vector<std::string> flags = {}) const {
        std::ofstream(file) << text;
        flags.insert(flags.end(), {"--config", file, "--manifests", "/tmp"});
        return parse_options(flags);
    }
    [[nodiscard]] std::string fault(const std::string& text, const std::vector<std::string>& flags = {}) const {
        const auto result = parsed(text, flags);
        return result ? "accepted" : result.error().message();
    }
};

TEST_F(IdentityOptionsTest, OneSourceOfCertificatesOnly) {
    EXPECT_EQ(fault("ca_address: a:1\nidentity_files: /tmp\n"),
              file + ":2: identity_files: a source of certificates beside " + file +
                  ":1: ca_address; remove one of them");
    EXPECT_THAT(fault("workload_api: /s\n", {"--identity-files", "/tmp"}),
                AllOf(StartsWith(file + ":1: workload_api"), HasSubstr("--identity-files; remove one")));
    EXPECT_EQ(fault("identity_files: /tmp\n"), "accepted");
}

TEST_F(IdentityOptionsTest, WhatIsForWeftCaNeedsIt) {
    for (const auto& one :
         std::vector<std::string>{"ca_token_file: /t", "ca_fingerprint: " + kDigits, "ca_state_dir: /s"}) {
        EXPECT_THAT(fault(one + "\n"), AllOf(StartsWith(file + ":1: ca_"), HasSubstr("give ca_address, too"))) << one;
        EXPECT_THAT(fault("identity_files: /tmp\n" + one + "\n"), StartsWith(file + ":2: ca_")) << one;
    }
    EXPECT_THAT(
        fault("ca_address: a:1\nca_token_file: /t\n"),
        AllOf(StartsWith(file + ":2: ca_token_file"), HasSubstr("ca_fingerprint, too"), HasSubstr("weft-ca token")));
    EXPECT_THAT(fault("ca_address: a:1\nca_fingerprint: " + kDigits + "\n"),
                HasSubstr("joining needs ca_token_file, too"));
    EXPECT_THAT(fault("ca_address: a:1\nca_token_file: /t\nca_fingerprint: abc\n"),
                AllOf(StartsWith(file + ":3: ca_fingerprint"), HasSubstr("64 lower case hex digits")));
    EXPECT_EQ(fault("ca_address: a:1\nca_token_file: /t\nca_fingerprint: " + kDigits + "\n"), "accepted");
    EXPECT_EQ(fault("ca_address: a:1\n"), "accepted") << "a node that has joined needs no token";
    for (const auto* address : {"a", "a:", ":1", "a:b"}) {
        EXPECT_THAT(fault(fmt::format("ca_address: \"{}\"\n", address)), HasSubstr("is not HOST:PORT")) << address;
    }
}

TEST_F(IdentityOptionsTest, StateOfWeftCaIsInTheRunDirectoryOrWhereItIsTold) {
    EXPECT_EQ(parsed("ca_address: a:1\nrun_dir: /r\n")->options.ca_state_dir, "/r/identity");
    EXPECT_EQ(parsed("ca_address: a:1\nca_state_dir: /var/lib/weft/\n")->options.ca_state_dir, "/var/lib/weft");
    EXPECT_EQ(parsed("")->options.ca_state_dir, "");
}

TEST_F(IdentityOptionsTest, SourcesThatCannotWorkAreNamed) {
    EXPECT_THAT(fault("identity_files: /no/such/folder\n"),
                AllOf(StartsWith(file + ":1: identity_files"), HasSubstr("is no folder"), HasSubstr("tls.crt")));
    EXPECT_THAT(fault("identity_files: certs\n"), HasSubstr("not an absolute path"));
    EXPECT_THAT(fault("", {"--workload-api", "tcp://1.2.3.4:5"}),
                AllOf(StartsWith("--workload-api: "), HasSubstr("unix:///PATH")));
    EXPECT_EQ(fault("workload_api: unix:///run/spire.sock\n"), "accepted");
    EXPECT_THAT(fault("trust_domain: Bank\n"), StartsWith(file + ":1: trust_domain"));
}

TEST_F(IdentityOptionsTest, FederationIsAMappingInTheFileAndPairsElsewhere) {
    const auto text = R"(ca_address: a:1
federation:
  bank.example: /etc/bank.pem
  shop.example: https://shop.example/bundle?a=b,c
federation_ca: {shop.example: /etc/ca.pem}
federation_addresses:
  bank.example: [192.0.2.0/24, 2001:db8::/32]
  shop.example: 198.51.100.0/24
federation_dial: {bank.example: 192.0.2.0/25}
federation_interval: 60
)";
    const auto in_file = parsed(text);
    ASSERT_TRUE(in_file) << in_file.error().message();
    EXPECT_EQ(in_file->options.federation.at("shop.example"), "https://shop.example/bundle?a=b,c");
    EXPECT_EQ(in_file->options.federation_ca.at("shop.example"), "/etc/ca.pem");
    EXPECT_EQ(in_file->options.federation_addresses.at("bank.example").at(1), *Cidr::parse("2001:db8::/32"));
    EXPECT_EQ(in_file->options.federation_dial.at("bank.example").at(0), *Cidr::parse("192.0.2.0/25"));
    EXPECT_EQ(in_file->options.federation_interval.count(), 60);

    std::ofstream(file) << describe(in_file->options);
    const auto again = parse_options({"--config", file});
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_EQ(describe(again->options), describe(in_file->options)) << "what --check-config prints is a configuration";

    const auto flags = parse_options({"--manifests", "/tmp", "--ca-address", "a:1", "--federation", "b=/b c=/c",
                                      "--federation-addresses", "b=192.0.2.0/24,198.51.100.0/24 c=203.0.113.0/24"});
    ASSERT_TRUE(flags) << flags.error().message();
    EXPECT_EQ(flags->options.federation.size(), 2U);
    EXPECT_EQ(flags->options.federation_addresses.at("b").size(), 2U);
}

TEST_F(IdentityOptionsTest, FederationThatMeansNothingIsRefused) {
    const std::string source = "ca_address: a:1\n";
    const std::string bank = "federation: {bank: /b}\n";
    const std::string there = "federation_addresses: {bank: 192.0.2.0/24}\n";
    EXPECT_EQ(fault(source + bank + there), "accepted");
    EXPECT_THAT(fault(bank + there),
                AllOf(StartsWith(file + ":1: federation: "), HasSubstr("ca_address, identity_files or")));
    EXPECT_THAT(fault(source + bank),
                AllOf(StartsWith(file + ":2: federation: bank"), HasSubstr("give federation_addresses")));
    EXPECT_THAT(fault(source + there), HasSubstr("its roots are unknown; give federation for it"));
    EXPECT_EQ(fault("workload_api: /s\n" + there), "accepted") << "the server may send the bundle";
    EXPECT_THAT(fault(source + "federation: {cluster.local: /b}\n"), HasSubstr("our own trust domain"));
    EXPECT_THAT(fault(source + "federation_addresses: {cluster.local: 192.0.2.0/24}\n"),
                HasSubstr("our own trust domain"));
    EXPECT_THAT(fault(source + "federation: {bank: http://b/}\n" + there),
                HasSubstr("neither an absolute path nor an https"));
    EXPECT_THAT(fault(source + "federation: {bank: 'https://'}\n" + there), HasSubstr("neither an absolute path nor"));
    EXPECT_THAT(fault(source + "federation: /b\n" + there), HasSubstr("'/b' is not TRUST-DOMAIN=VALUE"));
    EXPECT_THAT(fault(source + "federation: {bank: [[1]]}\n" + there), HasSubstr("must be a mapping of trust domains"));
    EXPECT_THAT(fault(source + "federation: {bank: '/b c=/d'}\n" + there), HasSubstr("without spaces"));
    EXPECT_THAT(fault(source + "federation: {bank: /b, bank: /c}\n" + there), HasSubstr("stands there twice"));
    EXPECT_THAT(fault(source + "federation: {Bank: /b}\n"), HasSubstr("trust domain"));
    EXPECT_THAT(fault(source + bank + "federation_addresses: {bank: 192.0.2.0}\n"), HasSubstr("192.0.2.0"));
    EXPECT_THAT(fault(source + "federation: {bank: /b, shop: /s}\n" +
                      "federation_addresses: {bank: 192.0.2.0/24, shop: 192.0.2.128/25}\n"),
                HasSubstr("192.0.2.0/24 of bank and 192.0.2.128/25 of shop overlap"));
    EXPECT_THAT(fault(source + bank + there + "federation_dial: {bank: 192.0.0.0/16}\n"),
                AllOf(StartsWith(file + ":4: federation_dial"), HasSubstr("not inside its federation_addresses")));
    EXPECT_THAT(fault(source + bank + there + "federation_dial: {shop: 192.0.2.0/25}\n"), HasSubstr("not inside"));
    EXPECT_THAT(fault(source + bank + there + "federation_ca: {bank: /ca}\n"), HasSubstr("for an https URL"));
    EXPECT_THAT(fault(source + bank + there + "federation_interval: 0\n"), HasSubstr("from 1 to 86400"));
}

} // namespace
} // namespace weft::app
