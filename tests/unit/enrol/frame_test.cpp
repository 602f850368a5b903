// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Frames in pieces, too long, and with bytes behind them.
#include "agent/enrol/frame.hpp"

#include <gtest/gtest.h>

using namespace std::string_literals;

namespace weft::enrol {
namespace {

TEST(Frame, LengthIsBigEndianAndInFront) {
    EXPECT_EQ(encode_frame("abc").value(), "\0\0\0\3abc"s);
}

TEST(Frame, ComesBackFromPiecesOfAnySize) {
    const std::string payload(1000, 'x');
    const std::string frame = encode_frame(payload).value();
    for (const std::size_t piece : {1UL, 2UL, 3UL, 5UL, 7UL, 999UL, 5000UL}) {
        FrameDecoder decoder;
        std::optional<std::string> got;
        for (std::size_t at = 0; at < frame.size(); at += piece) {
            ASSERT_FALSE(got.has_value()) << "whole before its end, pieces of " << piece;
            EXPECT_EQ(decoder.missing(), at < kFrameHeader ? kFrameHeader - at : frame.size() - at);
            auto fed = decoder.feed(std::string_view(frame).substr(at, piece));
            ASSERT_TRUE(fed.has_value()) << fed.error().message();
            got = *std::move(fed);
        }
        EXPECT_EQ(got, payload);
    }
}

TEST(Frame, EmptyPayloadIsAFrame) {
    FrameDecoder decoder;
    EXPECT_EQ(decoder.feed("\0\0\0\0"s).value(), "");
}

TEST(Frame, LimitIsOneMebibyte) {
    EXPECT_TRUE(encode_frame(std::string(kMaxFrame, 'x')).has_value());
    EXPECT_EQ(encode_frame(std::string(kMaxFrame + 1, 'x')).error().code(), EMSGSIZE);
    FrameDecoder largest;
    EXPECT_TRUE(largest.feed("\0\x10\0\0"s).has_value());
    FrameDecoder larger;
    EXPECT_EQ(larger.feed("\0\x10\0\1"s).error().code(), EMSGSIZE);
    FrameDecoder huge;
    EXPECT_EQ(huge.feed("\xff\xff\xff\xff"s).error().code(), EMSGSIZE);
}

TEST(Frame, BytesBehindItAreRefused) {
    FrameDecoder decoder;
    EXPECT_EQ(decoder.feed("\0\0\0\1ab"s).error().code(), EPROTO);
}

} // namespace
} // namespace weft::enrol
