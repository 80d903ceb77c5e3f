// A worker that ticks. Timers of a hidden page run once a second; those of a worker keep their pace,
// so the test pattern goes on while somebody watches it in another tab.

onmessage = ({ data: { periodMs } }) => {
  setInterval(() => postMessage(0), periodMs);
};
