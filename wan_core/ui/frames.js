// The frame of the clip on show: its number, from 0. The clip stops, so that one sees which frame was meant.
window.wanFrames = {
  onShow() {
    const video = document.querySelector('#player video');
    if (!video) return 0;
    video.pause();
    return Math.floor(video.currentTime * Number(video.dataset.fps) + 0.01);
  },
};
