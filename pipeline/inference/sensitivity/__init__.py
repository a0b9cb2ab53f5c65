"""What the slope is under other assumptions."""
