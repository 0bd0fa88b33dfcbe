// A load test of POST /predict for k6 (https://k6.io): a steady rate of requests, with limits.
//
//   k6 run examples/load.js
//   k6 run -e URL=https://mynet.example.org -e API_KEY=… -e RATE=500 -e DURATION=5m examples/load.js
//
// A service that is overloaded answers 429 at once, with Retry-After. The script counts these
// answers apart from failures, since they are what a full queue should give.
import http from "k6/http";
import { check } from "k6";
import { Rate } from "k6/metrics";

const url = __ENV.URL || "http://127.0.0.1:8000";
const image = open(__ENV.IMAGE || "../docs/images/seven.jpg", "b");
const headers = { "Content-Type": "image/jpeg" };
if (__ENV.API_KEY) headers["X-API-Key"] = __ENV.API_KEY;

const rejected = new Rate("rejected");

export const options = {
  scenarios: {
    predict: {
      executor: "constant-arrival-rate", // requests start on time, however slow the answers are
      rate: Number(__ENV.RATE || 100),
      timeUnit: "1s",
      duration: __ENV.DURATION || "30s",
      preAllocatedVUs: 50,
      maxVUs: 500,
    },
  },
  thresholds: {
    checks: ["rate>0.99"],
    rejected: ["rate<0.01"],
    http_req_duration: ["p(99)<1000"],
  },
};

export default function () {
  const response = http.post(`${url}/predict`, image, { headers });
  rejected.add(response.status === 429);
  if (response.status === 429) return;
  check(response, {
    "the status is 200": ({ status }) => status === 200,
    "the answer is a digit": (answer) => answer.status === 200 && answer.json("digit") >= 0,
  });
}
