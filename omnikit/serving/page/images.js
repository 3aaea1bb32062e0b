// Images, camera stills and frames of videos as data URLs.

const LONGEST = 768; // pixels of a side
const FRAMES = 4; // of a video

export async function readImageFile(file) {
  const bitmap = await createImageBitmap(file);
  return draw(bitmap, bitmap.width, bitmap.height);
}

export async function readVideoFile(file) {
  const video = document.createElement("video");
  video.muted = true;
  video.src = URL.createObjectURL(file);
  try {
    await once(video, "loadeddata");
    const urls = [];
    for (let number = 0; number < FRAMES; number++) {
      video.currentTime = (video.duration * (number + 0.5)) / FRAMES;
      await once(video, "seeked");
      urls.push(still(video));
    }
    return urls;
  } finally {
    URL.revokeObjectURL(video.src);
  }
}

export function still(video) {
  return draw(video, video.videoWidth, video.videoHeight);
}

function draw(source, width, height) {
  const scale = Math.min(1, LONGEST / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.9);
}

function once(target, name) {
  return new Promise((resolve, reject) => {
    target.addEventListener(name, resolve, { once: true });
    target.addEventListener("error", () => reject(new Error("The file cannot be read.")), { once: true });
  });
}
