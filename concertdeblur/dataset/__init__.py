"""From concert clips to training pairs: sources, shots, sharp frames, crops, blur pairs."""
