// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which first bytes are a Weft handshake? Asked with what OpenSSL really sends, whole, in parts, and damaged.
#include "weft/ktls/first_flight.hpp"

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/net/ktls/pki.hpp"
#include "weft/ktls/context.hpp"

namespace weft::ktls {
namespace {

using Bytes = std::vector<std::uint8_t>;

// A ClientHello of OpenSSL with these protocols in ALPN.
Bytes client_hello(const std::vector<std::string>& protocols) {
    const OsslPtr<SSL_CTX> context(SSL_CTX_new(TLS_client_method()));
    Bytes list;
    for (const auto& name : protocols) {
        list.push_back(static_cast<std::uint8_t>(name.size()));
        list.insert(list.end(), name.begin(), name.end());
    }
    if (!list.empty()) {
        EXPECT_EQ(SSL_CTX_set_alpn_protos(context.get(), list.data(), static_cast<unsigned int>(list.size())), 0);
    }
    const OsslPtr<SSL> ssl(SSL_new(context.get()));
    BIO* out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), out);
    SSL_set_connect_state(ssl.get());
    EXPECT_LE(SSL_do_handshake(ssl.get()), 0);
    char* data = nullptr;
    const long size = BIO_get_mem_data(out, &data);
    return {data, data + size};
}

// The same message, cut into records of `step` bytes.
Bytes fragmented(const Bytes& hello, std::size_t step) {
    Bytes out;
    for (std::size_t at = 5; at < hello.size(); at += step) {
        const auto size = std::min(step, hello.size() - at);
        out.insert(out.end(), {22, 3, 1, static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)});
        out.insert(out.end(), hello.begin() + static_cast<long>(at), hello.begin() + static_cast<long>(at + size));
    }
    return out;
}

FirstFlight classify(const std::string& text) {
    return classify_first_flight({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

TEST(FirstFlight, KnowsOurs) {
    EXPECT_EQ(classify_first_flight(client_hello({"weft/1"})), FirstFlight::kWeft);
    EXPECT_EQ(classify_first_flight(client_hello({"weft/1+rekey", "weft/1"})), FirstFlight::kWeft);
    EXPECT_EQ(classify_first_flight(client_hello({"h2", "http/1.1", "weft/1"})), FirstFlight::kWeft);
}

TEST(FirstFlight, KnowsOthers) {
    EXPECT_EQ(classify_first_flight(client_hello({})), FirstFlight::kOther);
    EXPECT_EQ(classify_first_flight(client_hello({"h2", "http/1.1"})), FirstFlight::kOther);
    EXPECT_EQ(classify_first_flight(client_hello({"weft/2", "weft/11", "weft/"})), FirstFlight::kOther);
    EXPECT_EQ(classify("GET / HTTP/1.1\r\n"), FirstFlight::kOther);
    EXPECT_EQ(classify("G"), FirstFlight::kOther) << "one byte is enough to see that";
    EXPECT_EQ(classify("SSH-2.0-OpenSSH_9.2"), FirstFlight::kOther);
    EXPECT_EQ(classify(std::string("\x16\x02\x01", 3)), FirstFlight::kOther);
    EXPECT_EQ(classify(std::string("\x15\x03\x01\x00\x02\x02\x28", 7)), FirstFlight::kOther);
    EXPECT_EQ(classify(std::string("\x16\x03\x01\x00\x05\x02", 6)), FirstFlight::kOther) << "a ServerHello";
    EXPECT_EQ(classify(std::string("\x16\x03\x01\xff\xff", 5)), FirstFlight::kOther) << "a record is not so long";
    EXPECT_EQ(classify(std::string("\x16\x03\x01\x00\x00", 5)), FirstFlight::kOther) << "an empty record";
}

TEST(FirstFlight, AsksForMoreAtEveryCut) {
    const auto hello = client_hello({"weft/1"});
    for (std::size_t size = 0; size < hello.size(); ++size) {
        EXPECT_EQ(classify_first_flight(std::span(hello).first(size)), FirstFlight::kNeedMore) << size;
    }
}

TEST(FirstFlight, ReadsAcrossRecords) {
    const auto hello = client_hello({"weft/1"});
    for (const std::size_t step : {1U, 3U, 4U, 5U, 100U}) {
        const auto parts = fragmented(hello, step);
        EXPECT_EQ(classify_first_flight(parts), FirstFlight::kWeft) << step;
        EXPECT_EQ(classify_first_flight(std::span(parts).first(parts.size() - 1)), FirstFlight::kNeedMore) << step;
    }
}

TEST(FirstFlight, IgnoresWhatFollows) {
    auto hello = client_hello({"weft/1"});
    hello.insert(hello.end(), 100, 0xff);
    EXPECT_EQ(classify_first_flight(hello), FirstFlight::kWeft);
}

// However the bytes are damaged: an answer, and never "more" for ever.
TEST(FirstFlight, AlwaysAnswers) {
    std::mt19937 random(1);
    const auto hello = client_hello({"weft/1"});
    int answers[3] = {0, 0, 0};
    for (int i = 0; i < 20000; ++i) {
        auto damaged = hello;
        for (int k = 0; k < 3; ++k) {
            damaged[random() % damaged.size()] = static_cast<std::uint8_t>(random());
        }
        ++answers[static_cast<int>(classify_first_flight(damaged))];
    }
    EXPECT_GT(answers[0], 0);
    EXPECT_GT(answers[1], 0);
    Bytes longest = {22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xff};
    longest.resize(kFirstFlightMost);
    EXPECT_EQ(classify_first_flight(longest), FirstFlight::kOther);
    const Bytes step = {22, 3, 1, 0, 1, 1};
    Bytes endless = {22, 3, 1, 0, 4, 1, 0, 0x20, 0};
    while (endless.size() < kFirstFlightMost) {
        endless.insert(endless.end(), step.begin(), step.end());
    }
    EXPECT_EQ(classify_first_flight(endless), FirstFlight::kOther);
}

} // namespace
} // namespace weft::ktls
