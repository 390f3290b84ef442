#include <gtest/gtest.h>

#include "src/metrics/metrics.h"

namespace sluice::metrics {
namespace {

constexpr uint64_t kMs = 1'000'000;

TEST(PrometheusText, WritesCountersAndGaugesWithTheirLabels) {
  const Family families[] = {
      {.name = "sluice_hits_total",
       .help = "Pages served.",
       .kind = Kind::counter,
       .samples = {{.labels = {{"tier", "ram"}}, .value = 3},
                   {.labels = {{"tier", "disk"}}, .value = 9007199254740992.0}}},
      {.name = "sluice_connections",
       .help = "Open connections.",
       .kind = Kind::gauge,
       .samples = {{.value = 0.25}}},
  };
  EXPECT_EQ(prometheus_text(families),
            "# HELP sluice_hits_total Pages served.\n"
            "# TYPE sluice_hits_total counter\n"
            "sluice_hits_total{tier=\"ram\"} 3\n"
            "sluice_hits_total{tier=\"disk\"} 9007199254740992\n"
            "# HELP sluice_connections Open connections.\n"
            "# TYPE sluice_connections gauge\n"
            "sluice_connections 0.25\n");
}

TEST(PrometheusText, WritesCumulativeBucketsSumAndCount) {
  Sample sample{.labels = {{"op", "get"}}};
  sample.histogram.record_ns(1 * kMs);   // on a bound: in it
  sample.histogram.record_ns(70 * kMs);  // between two
  sample.histogram.record_ns(20'000 * kMs);
  const Family family{.name = "sluice_request_seconds",
                      .help = "Time.",
                      .kind = Kind::histogram,
                      .samples = {sample}};
  const std::string text = prometheus_text({&family, 1});
  for (const char* line : {"sluice_request_seconds_count{op=\"get\"} 3\n",
                           "sluice_request_seconds_bucket{op=\"get\",le=\"0.0005\"} 0\n",
                           "sluice_request_seconds_bucket{op=\"get\",le=\"0.001\"} 1\n",
                           "sluice_request_seconds_bucket{op=\"get\",le=\"0.05\"} 1\n",
                           "sluice_request_seconds_bucket{op=\"get\",le=\"0.1\"} 2\n",
                           "sluice_request_seconds_bucket{op=\"get\",le=\"10\"} 2\n",
                           "sluice_request_seconds_bucket{op=\"get\",le=\"+Inf\"} 3\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "is not in\n" << text;
  }
  EXPECT_NE(text.find("sluice_request_seconds_sum{op=\"get\"} 20.07"), std::string::npos) << text;
}

TEST(PrometheusText, EscapesWhatALabelMayHold) {
  const Family family{.name = "sluice_build_info",
                      .help = "Build.",
                      .kind = Kind::gauge,
                      .samples = {{.labels = {{"version", "a\"b\\c\nd"}}, .value = 1}}};
  EXPECT_NE(prometheus_text({&family, 1}).find("{version=\"a\\\"b\\\\c\\nd\"} 1\n"),
            std::string::npos);
}

TEST(PrometheusText, IsEmptyForNothing) {
  EXPECT_EQ(prometheus_text({}), "");
}

}  // namespace
}  // namespace sluice::metrics
