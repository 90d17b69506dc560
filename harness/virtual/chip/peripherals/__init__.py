"""The chip's register blocks; layouts cite RM0385 (F74x), RM0410 (F76x), RM0390 (F446), ARMv7-M."""
